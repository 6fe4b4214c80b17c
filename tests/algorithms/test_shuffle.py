"""Permutations are permutations, and uniform ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from rlx.algorithms.shuffle import random_permutation


@pytest.mark.parametrize("size", [1, 2, 3, 1000, 1024, 16_384])
def test_every_element_comes_once(size):
    permutation = jax.jit(random_permutation, static_argnums=1)(jax.random.key(size), size)
    np.testing.assert_array_equal(jnp.sort(permutation), np.arange(size))


def test_all_orders_of_four_are_equally_likely():
    permutations = jax.vmap(lambda key: random_permutation(key, 4))(jax.random.split(jax.random.key(0), 24_000))
    _, counts = np.unique(np.asarray(permutations), axis=0, return_counts=True)
    assert len(counts) == 24
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_neighbors_are_in_either_order_equally_often():
    """Ties keep their order, so too few random bits would show here."""
    size = 4096
    permutations = jax.vmap(lambda key: random_permutation(key, size))(jax.random.split(jax.random.key(1), 50))
    place = np.argsort(np.asarray(permutations), axis=1)
    ascending = (place[:, 1:] > place[:, :-1]).mean()
    assert abs(ascending - 0.5) < 4 * np.sqrt(1 / 12 / (50 * size))


def test_a_size_out_of_range_is_refused():
    with pytest.raises(ValueError, match="size must be between 1 and 2\\^28, got 0"):
        random_permutation(jax.random.key(0), 0)
