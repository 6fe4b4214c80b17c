import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses.value import bernoulli_value


def test_equals_numpy_and_finite_differences(rng, check_gradient) -> None:
    logit, rate = rng.normal(scale=3, size=40), rng.random(40)
    value = 1 / (1 + np.exp(-logit))
    expected = -(rate * np.log(value) + (1 - rate) * np.log(1 - value))
    logit, rate = jnp.asarray(logit), jnp.asarray(rate)
    np.testing.assert_allclose(bernoulli_value(logit, rate), expected, rtol=1e-12)
    check_gradient(lambda logit: bernoulli_value(logit, rate), logit)


def test_gradient_is_value_less_rate_and_vanishes_at_the_rate(float64) -> None:
    rate = jnp.array([0.0, 0.25, 0.5, 1.0, 0.3])
    logit = jnp.array([2.0, np.log(1 / 3), -1.0, 2.0, 0.0])
    gradient = jax.grad(lambda logit: bernoulli_value(logit, rate).sum())(logit)
    np.testing.assert_allclose(gradient, jax.nn.sigmoid(logit) - rate, atol=1e-12)
    np.testing.assert_allclose(gradient[1], 0, atol=1e-12)
    np.testing.assert_allclose(bernoulli_value(logit, rate)[1], 2 * np.log(2) - 0.75 * np.log(3), rtol=1e-12)


def test_extreme_logits_are_exact() -> None:
    logit, rate = jnp.array([80.0, 80.0, -1e4, 20.0]), jnp.array([1.0, 0.0, 1.0, 1.0])
    np.testing.assert_allclose(bernoulli_value(logit, rate), [np.exp(-80), 80, 1e4, np.exp(-20)], rtol=1e-5)
    gradient = jax.grad(lambda logit: bernoulli_value(logit, rate).sum())(logit)
    np.testing.assert_allclose(gradient, [0, 1, -1, -np.exp(-20)], atol=1e-7)
