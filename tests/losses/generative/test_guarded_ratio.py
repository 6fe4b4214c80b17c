import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.generative import normalized_log_ratio

LOG_PROB, BEHAVIOR = jnp.array([-1.3, -1.1]), jnp.array([-1.25, -1.2])
MEAN = jnp.array([[0.1, 0.2, -0.2], [0.2, 0.1, 0.1]])
BEHAVIOR_MEAN = jnp.array([[0, 0.2, -0.1], [0.3, 0, 0.1]])


def test_oracle() -> None:
    log_ratio = normalized_log_ratio(LOG_PROB, BEHAVIOR, MEAN, BEHAVIOR_MEAN, 0.4)
    np.testing.assert_allclose(log_ratio, [-0.011667, 0.048333], rtol=1e-4)
    slope = jax.grad(lambda mean: normalized_log_ratio(LOG_PROB, BEHAVIOR, mean, BEHAVIOR_MEAN, 0.4).sum())(MEAN)
    np.testing.assert_allclose(slope, [[0.083333, 0, -0.083333], [-0.083333, 0.083333, 0]], rtol=1e-5, atol=1e-8)
    np.testing.assert_array_equal(normalized_log_ratio(LOG_PROB, LOG_PROB, MEAN, MEAN, 0.4), 0)


@pytest.mark.parametrize("scale", [0.03, 1.0, 20.0])
def test_of_a_gaussian_step_only_the_noise_is_left(rng, float64, scale) -> None:
    mean, behavior_mean, noise = map(jnp.asarray, rng.normal(size=(3, 5, 4, 3)))
    x = behavior_mean + scale * noise
    log_prob, behavior = (-jnp.mean(jnp.square(x - m), (-2, -1)) / (2 * scale**2) for m in (mean, behavior_mean))
    log_ratio = normalized_log_ratio(log_prob, behavior, mean, behavior_mean, scale, event_ndims=2)
    np.testing.assert_allclose(log_ratio, jnp.mean(noise * (mean - behavior_mean), (-2, -1)), rtol=1e-8, atol=1e-9)


def test_gradient_and_mask(rng, check_gradient) -> None:
    log_prob, behavior = map(jnp.asarray, rng.normal(size=(2, 4)))
    mean, behavior_mean = map(jnp.asarray, rng.normal(size=(2, 4, 3)))
    scale, where = jnp.asarray(rng.uniform(0.3, 1, 4)), jnp.array([True, False, True, True])
    call = lambda a, b: normalized_log_ratio(a, behavior, b, behavior_mean, scale, where=where)
    check_gradient(jax.jit(call), log_prob, mean)
    drift = np.mean(np.square(mean - behavior_mean), -1) / (2 * np.square(scale))
    expected = np.where(where, scale * (log_prob - behavior + drift), 0)
    np.testing.assert_allclose(call(log_prob, mean), expected, rtol=1e-12)
