"""Orthogonal initialization: orthonormal, Haar distributed, and free of the decomposition that can deadlock."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import policies


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (1, 4), (256, 64)])
def test_the_shorter_side_is_orthonormal(shape):
    weight = policies.orthogonal(2.0)(jax.random.key(0), shape)
    assert weight.shape == shape and weight.dtype == jnp.float32
    short = weight if shape[0] <= shape[1] else weight.T
    np.testing.assert_allclose(short @ short.T, 4 * np.eye(min(shape)), atol=1e-5)


def test_the_distribution_is_invariant_to_rotations():
    """Haar measure: entries have mean 0, variance 1/n and, for a sphere in n dimensions, E[q^4] = 3/(n(n+2))."""
    n, samples = 4, 20_000
    q = jax.vmap(lambda key: policies.orthogonal()(key, (n, n)))(jax.random.split(jax.random.key(0), samples))
    for moment, expected in ((1, 0.0), (2, 1 / n), (4, 3 / (n * (n + 2)))):
        np.testing.assert_allclose(jnp.mean(q**moment, axis=0), np.full((n, n), expected), atol=5 / np.sqrt(samples))
    # Both orientations come up, and the diagonal is no exception: E[trace^2] = 1.
    assert abs(float(jnp.mean(jnp.linalg.det(q) > 0)) - 0.5) < 0.03
    assert abs(float(jnp.mean(jnp.trace(q, axis1=1, axis2=2) ** 2)) - 1) < 0.06


def test_networks_are_initialized_without_a_decomposition():
    network = policies.critic((8, 8))
    init = jax.vmap(lambda key: network.init(key, jnp.zeros(3)))
    program = jax.jit(init).lower(jax.random.split(jax.random.key(0), 4)).as_text()
    assert "geqrf" not in program and "lapack" not in program
