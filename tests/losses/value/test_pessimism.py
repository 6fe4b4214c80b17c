import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses import value

ensemble_pessimism = jax.jit(value.ensemble_pessimism, static_argnames="axis")


def test_oracle_and_two_members_at_one_half_are_their_minimum(rng) -> None:
    np.testing.assert_allclose(ensemble_pessimism(jnp.array([[1.0, 2.0], [3.0, 2.5]]), penalty=0.5), [1, 2])
    pair = jnp.asarray(rng.normal(size=(2, 50)), jnp.float32)
    np.testing.assert_allclose(ensemble_pessimism(pair, penalty=0.5), pair.min(0), atol=1e-6)
    np.testing.assert_allclose(ensemble_pessimism(pair), pair.mean(0), atol=1e-6)
    np.testing.assert_array_equal(ensemble_pessimism(pair[:1], penalty=3.0), pair[0])


def test_equals_numpy_and_finite_differences(rng, check_gradient) -> None:
    x = rng.normal(size=(3, 5, 2))
    distance = np.abs(x[:, :, None] - x[:, None])
    expected = x.mean(1) - 0.7 * distance.sum((1, 2)) / 20
    pessimism = lambda x: ensemble_pessimism(x, penalty=0.7, axis=1)
    np.testing.assert_allclose(pessimism(jnp.asarray(x)), expected, rtol=1e-10)
    check_gradient(jax.jit(pessimism), jnp.asarray(x))
