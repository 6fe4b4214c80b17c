import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses.value import expectile, squared_error


def test_expectile_oracle() -> None:
    np.testing.assert_allclose(expectile(jnp.zeros(2), jnp.array([1.0, -1.0])), [0.7, 0.3], rtol=1e-6)


def test_expectile_equals_numpy_and_finite_differences(rng, float64, check_gradient) -> None:
    value, target = rng.normal(size=(2, 60))
    expected = np.array([(0.9 if y >= v else 1 - 0.9) * (y - v) ** 2 for v, y in zip(value, target, strict=True)])
    value, target = jnp.asarray(value), jnp.asarray(target)
    np.testing.assert_allclose(expectile(value, target, expectile=0.9), expected, rtol=1e-12)
    check_gradient(lambda v: expectile(v, target, expectile=0.9), value)
    np.testing.assert_allclose(expectile(value, target, expectile=0.5), squared_error(value, target))


def test_the_minimizer_is_the_expectile(float64) -> None:
    # The τ-expectile of {0, 1}, half each, is τ.
    target = jnp.array([0.0, 1.0])
    for level in (0.3, 0.7, 0.99):
        slope = jax.grad(lambda v, level=level: expectile(v * jnp.ones(2), target, expectile=level).sum())
        np.testing.assert_allclose(slope(level), 0, atol=1e-12)
