import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses.policy import outcome_contrast
from rlx.returns import group_relative


def slope(log_prob, *args, **options):
    return jax.jit(jax.grad(lambda log_prob: outcome_contrast(log_prob, *args, **options).sum()))(log_prob)


def test_oracle() -> None:
    arrays = (
        jnp.array([[-0.5, -1], [-0.2, -2]]),
        jnp.array([[0.75], [-0.25]]),
        jnp.array([[True], [False]]),
    )
    weights = {
        "positive_weight": jnp.array([[1, 0.4], [1, 1]]),
        "negative_weight": jnp.array([[1, 1], [0.5, 1]]),
    }
    np.testing.assert_allclose(outcome_contrast(*arrays, **weights), [[0.375, 0.3], [0.0625, 0.125]], rtol=1e-6)
    np.testing.assert_allclose(slope(*arrays, **weights), [[-0.75, -0.3], [0.0625, 0.125]], rtol=1e-6)


def test_equals_numpy(rng, float64) -> None:
    log_prob, where = rng.uniform(-3, 0, (6, 5)), rng.random((6, 5)) < 0.7
    advantage, reward = rng.normal(size=(6, 1)), np.array([1.0, -1, 1, -1, 0, 1])[:, None]
    positive, negative = rng.random((2, 6, 5))
    poison = np.where(where, 0, np.nan)
    expected, expected_slope = np.zeros((2, 6, 5))
    for i, t in zip(*np.nonzero(where), strict=True):
        credit = -advantage[i, 0] * (positive[i, t] if reward[i, 0] > 0 else 0.3 * negative[i, t])
        expected[i, t], expected_slope[i, t] = credit * (log_prob[i, t] if reward[i, 0] > 0 else 1), credit
    arrays = [jnp.asarray(x) for x in (log_prob + poison, advantage, reward)]
    options = {
        "positive_weight": jnp.asarray(positive + poison),
        "negative_weight": jnp.asarray(negative),
        "negative_coefficient": 0.3,
        "where": jnp.asarray(where),
    }
    np.testing.assert_allclose(outcome_contrast(*arrays, **options), expected, rtol=1e-12)
    np.testing.assert_allclose(slope(*arrays, **options), expected_slope, rtol=1e-12)


def test_limits(rng) -> None:
    log_prob, reward = jnp.asarray(rng.uniform(-3, 0, (4, 5))), jnp.array([1.0, 0, 0, 1])
    advantage = group_relative(reward, center="leave_one_out", scale="none")[:, None]
    reinforce = jnp.broadcast_to(-advantage, (4, 5))
    correct = reward[:, None] > 0
    np.testing.assert_allclose(slope(log_prob, advantage, correct, negative_coefficient=1.0), reinforce)
    cloning = slope(log_prob, advantage, correct, negative_coefficient=0.0)
    np.testing.assert_allclose(cloning, jnp.where(correct, reinforce, 0))
    solved = group_relative(jnp.ones(4), center="leave_one_out", scale="none")[:, None]
    assert not np.any(slope(log_prob, solved, jnp.ones((4, 1), bool)))
