import jax
import jax.numpy as jnp
import numpy as np

from rlx.regularizers.representation import orthonormality


def test_oracle() -> None:
    features = jnp.array([[0.5, 0.5], [1.0, -1.0], [0.0, 1.0]])
    np.testing.assert_allclose(orthonormality(features), [-0.875, -3.5, -1.375], rtol=1e-6)


def test_equals_numpy_and_finite_differences(rng, float64, check_gradient) -> None:
    features, where = rng.normal(size=(7, 3)), np.array([1, 1, 0, 1, 1, 0, 1], bool)
    expected, rows = np.zeros(7), np.flatnonzero(where)
    for i in rows:
        others = [sum(features[i] * features[j]) ** 2 for j in rows if j != i]
        expected[i] = np.mean(others) - 2 * sum(features[i] ** 2)
    function = jax.jit(lambda b: orthonormality(b, where=jnp.asarray(where)))
    np.testing.assert_allclose(function(jnp.asarray(features)), expected, rtol=1e-12)
    check_gradient(function, jnp.asarray(features))


def test_it_is_smallest_at_an_identity_second_moment(rng, float64) -> None:
    # ± the axes times √d have exactly the second moment I; the mean over pairs leaves out the row itself.
    features = jnp.tile(jnp.concatenate([jnp.eye(3), -jnp.eye(3)]) * jnp.sqrt(3), (100, 1))
    total = jax.jit(lambda b: orthonormality(b).mean())
    np.testing.assert_allclose(jax.grad(total)(features) * len(features), 0, atol=0.1)
    for _ in range(3):
        transform = jnp.eye(3) + 0.3 * jnp.asarray(rng.normal(size=(3, 3)))
        assert total(features @ transform) > total(features)


def test_a_single_row_has_no_pair() -> None:
    np.testing.assert_allclose(orthonormality(jnp.array([[1.0, 2.0]])), [-10])
