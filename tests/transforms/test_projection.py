import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.transforms import orthogonalize


def test_oracle() -> None:
    result = orthogonalize(jnp.array([1.0, 2.0, 2.0]), jnp.array([-3.0, 1.0, 0.0]))
    np.testing.assert_allclose(result, [-1.888889, 3.222222, 2.222222], rtol=1e-6)


def test_inner_products_run_over_all_leaves(rng, float64) -> None:
    flat = rng.normal(size=(2, 9))
    expected = flat[0] + flat[1] - (flat[0] @ flat[1]) / (flat[0] @ flat[0]) * flat[0]
    tree = lambda x: {"a": jnp.asarray(x[:4]), "b": [jnp.asarray(x[4:8].reshape(2, 2)), jnp.asarray(x[8])]}
    result = orthogonalize(tree(flat[0]), tree(flat[1]))
    np.testing.assert_allclose(np.concatenate([np.ravel(x) for x in jax.tree.leaves(result)]), expected, rtol=1e-12)
    np.testing.assert_allclose((expected - flat[0]) @ flat[0], 0, atol=1e-12)


def test_parallel_and_absent_gradients(rng, float64) -> None:
    forward, nothing = jnp.asarray(rng.normal(size=5)), jnp.zeros(5)
    np.testing.assert_allclose(orthogonalize(forward, -3 * forward), forward, rtol=1e-12)
    np.testing.assert_allclose(orthogonalize(forward, nothing), forward)  # The semi-gradient.
    np.testing.assert_allclose(orthogonalize(nothing, forward), forward)  # Nothing to project on.


def test_structures_must_agree() -> None:
    with pytest.raises(ValueError):
        orthogonalize({"a": jnp.ones(2)}, {"b": jnp.ones(2)})
