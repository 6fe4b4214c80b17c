import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.regularizers.smoothness import ensemble_gradient_diversity


def test_oracle() -> None:
    gradient = jnp.array([[[1.0, 0.0]], [[0.0, 2.0]], [[1.0, 1.0]]])
    np.testing.assert_allclose(ensemble_gradient_diversity(gradient), [1.414214], rtol=1e-6)


@pytest.mark.parametrize("axis", [0, -2])
def test_equals_numpy_and_finite_differences(rng, float64, check_gradient, axis) -> None:
    gradient, where = rng.normal(size=(4, 5, 3)), np.array([True, True, False, True, True])
    expected = np.zeros(5)
    for b in np.flatnonzero(where):
        unit = [gradient[i, b] / (np.sqrt(sum(gradient[i, b] ** 2)) + 0.1) for i in range(4)]
        expected[b] = sum(unit[i] @ unit[j] for i in range(4) for j in range(4) if i != j) / 3
    gradient[:, 2] = np.nan
    where = jnp.asarray(where)
    array = jnp.moveaxis(jnp.asarray(gradient), 0, axis)
    function = jax.jit(lambda g: ensemble_gradient_diversity(g, axis=axis, eps=0.1, where=where))
    np.testing.assert_allclose(function(array), expected, rtol=1e-10)
    slope = jax.grad(lambda g: function(g).sum())(array)
    assert np.isfinite(slope).all() and not jnp.moveaxis(slope, axis, 0)[:, 2].any()
    check_gradient(function, jnp.nan_to_num(array))


def test_laws() -> None:
    direction = jnp.array([0.6, 0.8])
    same = jnp.stack([scale * direction for scale in (1.0, 3.0, 0.1, 7.0)])
    np.testing.assert_allclose(ensemble_gradient_diversity(same), 4, rtol=1e-6)
    np.testing.assert_allclose(ensemble_gradient_diversity(jnp.diag(jnp.array([1.0, 5.0, 0.2]))), 0, atol=1e-6)
    assert ensemble_gradient_diversity(same[:1]) == 0


def test_flat_critics_have_a_finite_gradient() -> None:
    gradient = jnp.zeros((3, 2, 2)).at[0].set(1.0)
    value, slope = jax.value_and_grad(lambda g: ensemble_gradient_diversity(g).sum())(gradient)
    assert value == 0 and np.isfinite(slope).all()


def test_the_second_derivative_of_critics(float64, check_gradient) -> None:
    """Gradient in the parameters of an ensemble Q_i(a) = tanh(w_i·a)."""
    action = jnp.array([[0.3, -0.2], [0.1, 0.5]])

    @jax.jit
    def loss(parameters):
        q = lambda w, a: jnp.tanh(w @ a)
        slopes = jax.vmap(jax.vmap(jax.grad(q, argnums=1), (None, 0)), (0, None))(parameters, action)
        return ensemble_gradient_diversity(slopes)

    check_gradient(loss, jnp.array([[1.0, 0.5], [-0.3, 0.8], [0.2, 0.1]]))


def test_the_action_axis_is_refused() -> None:
    with pytest.raises(ValueError, match="is the action axis"):
        ensemble_gradient_diversity(jnp.ones((2, 3, 4)), axis=-1)
