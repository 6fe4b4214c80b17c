import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses.value import clipped_value, squared_error


def test_squared_error_by_hand() -> None:
    value, target = jnp.array([1.0, -2.0]), jnp.array([3.0, -2.0])
    np.testing.assert_allclose(squared_error(value, target), [2, 0])
    np.testing.assert_allclose(jax.grad(lambda v: squared_error(v, target).sum())(value), [-2, 0])


def test_clipped_value_oracle() -> None:
    loss = clipped_value(jnp.array([1.0, 0.3]), jnp.array([0.5, 0.35]), jnp.array([2.0, 0.0]))
    np.testing.assert_allclose(loss, [0.845, 0.045], rtol=1e-6)


def test_clipped_value_equals_numpy_and_finite_differences(rng, float64, check_gradient) -> None:
    value, behavior, target = rng.normal(size=(3, 100))
    near = np.minimum(np.maximum(value, behavior - 0.3), behavior + 0.3)
    expected = np.maximum((value - target) ** 2, (near - target) ** 2) / 2
    arrays = [jnp.asarray(x) for x in (value, behavior, target)]
    np.testing.assert_allclose(clipped_value(*arrays, clip=0.3), expected, rtol=1e-12)
    check_gradient(lambda v: clipped_value(v, *arrays[1:], clip=0.3), arrays[0])


def test_an_infinite_clip_is_the_squared_error(rng) -> None:
    value, behavior, target = jnp.asarray(rng.normal(size=(3, 50)), jnp.float32)
    np.testing.assert_allclose(
        clipped_value(value, behavior, target, clip=jnp.inf),
        squared_error(value, target),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_value_beyond_the_clip_is_not_pushed_further() -> None:
    # The first target lies farther out: the clipped error is the larger one, and has no gradient.
    value, behavior, target = jnp.array(1.0), jnp.array(0.5), jnp.array(2.0)
    assert jax.grad(clipped_value)(value, behavior, target) == 0
    assert jax.grad(clipped_value)(value, behavior, -target) == 3
