import jax
import jax.numpy as jnp
import numpy as np

from rlx import returns

target_distribution_advantage = jax.jit(returns.target_distribution_advantage)

ADVANTAGE, SUCCESS = jnp.array([0.8, -0.6]), jnp.array([True, False])
BEHAVIOR = jnp.array([[-1.0, -0.2], [-1.0, -2.0]])
TARGET = jnp.array([[-0.9, -0.4], [-1.0, -2.0]])


def test_oracle() -> None:
    mixed = target_distribution_advantage(ADVANTAGE, SUCCESS, BEHAVIOR, TARGET, 0.3)
    np.testing.assert_allclose(mixed, [[0.850862, 0.803122], [-0.5, -0.5]], atol=1e-6)


def test_equals_numpy_with_masks_and_extreme_ratios(rng, float64) -> None:
    advantage, success = rng.normal(size=6), rng.random(6) < 0.5
    behavior, target = rng.uniform(-3, 0, (2, 6, 4))
    behavior[2, 1], success[2] = -80, True
    where = rng.random((6, 4)) < 0.7
    where[2, 1], where[5] = True, False
    rate = np.mean([success[i] for i in range(6) if where[i].any()])
    for entropy in (0.02, 0.24, 0.31, 2.0):
        strength = min(abs(0.25 - entropy), 0.08) / rate
        strength = strength / (1 + strength)
        ratio = np.exp(np.minimum(target - behavior, 20))
        expected = (1 - strength) * advantage[:, None] + strength * success[:, None] * ratio
        mixed = target_distribution_advantage(
            jnp.asarray(advantage),
            jnp.asarray(success),
            jnp.asarray(np.where(where, behavior, np.nan)),
            jnp.asarray(target),
            entropy,
            target_entropy=0.25,
            max_coefficient=0.08,
            where=jnp.asarray(where),
        )
        np.testing.assert_allclose(mixed, np.where(where, expected, 0), rtol=1e-10)


def test_without_a_pull_it_is_the_advantage() -> None:
    unchanged = np.broadcast_to(ADVANTAGE[:, None], (2, 2))
    arrays = ADVANTAGE, SUCCESS, BEHAVIOR, TARGET
    np.testing.assert_array_equal(target_distribution_advantage(*arrays, 0.5), unchanged)
    np.testing.assert_array_equal(target_distribution_advantage(*arrays, 0.1, max_coefficient=0.0), unchanged)
    failures = ADVANTAGE, jnp.zeros(2, bool), BEHAVIOR, TARGET
    for entropy in (0.5, 0.1):
        np.testing.assert_array_equal(target_distribution_advantage(*failures, entropy), unchanged)
    # At temperature 1 the successes get a bonus of the share itself, 1/6 here.
    mixed = target_distribution_advantage(ADVANTAGE, SUCCESS, BEHAVIOR, BEHAVIOR, 0.3)
    np.testing.assert_allclose(mixed, unchanged * 5 / 6 + np.array([[1 / 6], [0]]), rtol=1e-6)
