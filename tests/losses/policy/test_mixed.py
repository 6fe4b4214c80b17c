import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses.policy import clipped_surrogate, mixed_policy

LOG_PROB = jnp.array([-0.2, -1.5, -3, -0.1])
BEHAVIOR = jnp.array([-0.3, -1, -9, -0.1])
ADVANTAGE = jnp.array([1, -0.5, 1, 1])
OFF = jnp.array([False, False, True, True])


def slope(log_prob, *args, **options):
    return jax.jit(jax.grad(lambda log_prob: mixed_policy(log_prob, *args, **options).sum()))(log_prob)


def test_oracle() -> None:
    arrays = LOG_PROB, BEHAVIOR, ADVANTAGE, OFF
    np.testing.assert_allclose(mixed_policy(*arrays), [-1.105171, 0.303265, -0.332386, -0.900481], rtol=2e-6)
    np.testing.assert_allclose(slope(*arrays), [-1.105171, 0.303265, -0.221905, -0.089615], rtol=1e-5)


def test_behavior_of_another_author_is_ignored() -> None:
    expected, expected_slope = (f(LOG_PROB, BEHAVIOR, ADVANTAGE, OFF) for f in (mixed_policy, slope))
    for poison in (jnp.nan, jnp.inf, -jnp.inf, 5.0):
        behavior = jnp.where(OFF, poison, BEHAVIOR)
        np.testing.assert_array_equal(mixed_policy(LOG_PROB, behavior, ADVANTAGE, OFF), expected)
        np.testing.assert_array_equal(slope(LOG_PROB, behavior, ADVANTAGE, OFF), expected_slope)


def test_equals_numpy_and_finite_differences(rng, check_gradient) -> None:
    log_prob, behavior = rng.uniform(-3, 0, (2, 4, 8))
    advantage, off, where = rng.normal(size=(4, 1)), rng.random((4, 8)) < 0.5, rng.random((4, 8)) < 0.8
    ratio, prob = np.exp(log_prob - behavior), np.exp(log_prob)
    own = np.maximum(-advantage * ratio, -advantage * np.clip(ratio, 0.8, 1.3))
    expected = np.where(where, np.where(off, -advantage * prob / (prob + 0.2), own), 0)
    arrays = [jnp.asarray(x) for x in (log_prob, behavior, advantage, off)]
    options = {"shaping": 0.2, "clip_low": 0.2, "clip_high": 0.3, "where": jnp.asarray(where)}
    np.testing.assert_allclose(mixed_policy(*arrays, **options), expected, rtol=1e-12)
    check_gradient(jax.jit(lambda x: mixed_policy(x, *arrays[1:], **options)), arrays[0])


def test_limits() -> None:
    none, every = jnp.zeros(4, bool), jnp.ones(4, bool)
    unclipped = clipped_surrogate(LOG_PROB, BEHAVIOR, ADVANTAGE, clip_low=1.0, clip_high=jnp.inf)
    np.testing.assert_allclose(mixed_policy(LOG_PROB, BEHAVIOR, ADVANTAGE, none), unclipped)
    loss = 1e6 * mixed_policy(LOG_PROB, BEHAVIOR, ADVANTAGE, every, shaping=1e6)
    np.testing.assert_allclose(loss, -ADVANTAGE * jnp.exp(LOG_PROB), rtol=1e-5)
    np.testing.assert_allclose(mixed_policy(LOG_PROB, BEHAVIOR, ADVANTAGE, every, shaping=0.0), -ADVANTAGE)
    assert not np.any(slope(LOG_PROB, BEHAVIOR, ADVANTAGE, every, shaping=0.0))
    rare = jnp.array([-40.0]), jnp.zeros(1), jnp.ones(1), jnp.array([True])
    np.testing.assert_allclose([mixed_policy(*rare), slope(*rare)], 0, atol=1e-15)
