"""Permutations are permutations, and uniform ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from rlx.algorithms.shuffle import minibatch_positions, random_permutation, shuffle_groups, taken


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


@pytest.mark.parametrize(("time", "env", "minibatches"), [(4, 16, 4), (6, 8, 3), (5, 3, 5), (1, 24, 3)])
def test_every_sample_comes_once_in_a_pass_and_groups_share_alike(time, env, minibatches):
    position = minibatch_positions(jax.random.key(0), time, env, num_minibatches=minibatches, passes=2)
    groups = shuffle_groups(time, env, minibatches)
    assert position.shape == (2 * minibatches, groups, time * env // minibatches // groups)
    for one_pass in np.asarray(position).reshape(2, -1):
        np.testing.assert_array_equal(np.sort(one_pass), np.arange(time * env))
    assert not np.array_equal(position[:minibatches], position[minibatches:])
    # Position t·env + e belongs to the group of environment e.
    of_group = np.broadcast_to(np.arange(groups)[:, None], position.shape)
    np.testing.assert_array_equal(position % env // (env // groups), of_group)
    x = jnp.arange(time * env * 2).reshape(time, env, 2)
    np.testing.assert_array_equal(taken(x, position[0]), x.reshape(-1, 2)[position[0].reshape(-1)])


def test_groups_follow_from_shapes_alone():
    assert [shuffle_groups(*shape) for shape in ((32, 512, 8), (4, 4, 2), (8, 6, 4), (1, 7, 7), (3, 8, 12))] == [
        8,
        4,
        2,
        1,
        2,
    ]
    with pytest.raises(ValueError, match="must divide the 12 parts of a rollout, got 5"):
        shuffle_groups(4, 3, 5)
