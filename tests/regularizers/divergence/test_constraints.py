import jax
import jax.numpy as jnp
import numpy as np

from rlx.regularizers.divergence import squared_hinge


def test_nothing_below_the_threshold_and_a_parabola_above() -> None:
    divergence = jnp.array([-0.3, 0.0, 1e-4, 1.1e-3])
    value, slope = jax.value_and_grad(lambda d: squared_hinge(d).sum())(divergence)
    np.testing.assert_allclose(value, 500 * 1e-3**2, rtol=1e-5)
    np.testing.assert_allclose(slope, [0, 0, 0, 1.0], rtol=1e-5)


def test_gradient(check_gradient) -> None:
    divergence = jnp.array([-0.5, 0.2, 0.9])
    check_gradient(jax.jit(lambda d: squared_hinge(d, threshold=0.1, coefficient=3)), divergence)
    expected = 1.5 * np.maximum(np.array([-0.6, 0.1, 0.8]), 0) ** 2
    np.testing.assert_allclose(squared_hinge(divergence, threshold=0.1, coefficient=3), expected, rtol=1e-12)
