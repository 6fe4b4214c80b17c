import itertools

import jax
import jax.numpy as jnp
import numpy as np

from rlx import weighting

suffix_mask = jax.jit(weighting.suffix_mask, static_argnames=("axis",))


def test_oracle() -> None:
    where = jnp.array([1, 1, 0, 1, 0, 1, 1], bool)
    np.testing.assert_array_equal(suffix_mask(where, 1), [0, 0, 0, 1, 0, 1, 1])
    np.testing.assert_array_equal(suffix_mask(where, 0), where)
    np.testing.assert_array_equal(suffix_mask(where, -2), where)
    assert not suffix_mask(where, 3).any()


def test_equals_grouping_of_runs(rng) -> None:
    where, pivot = rng.random((8, 12)) < 0.6, rng.integers(0, 4, 8)
    expected = np.zeros_like(where)
    for row, skip, out in zip(where, pivot, expected):
        runs = [list(run) for value, run in itertools.groupby(range(12), key=lambda t: row[t]) if value]
        for run in runs[skip:]:
            out[run] = True
    np.testing.assert_array_equal(suffix_mask(jnp.asarray(where), jnp.asarray(pivot)), expected)
    np.testing.assert_array_equal(suffix_mask(jnp.asarray(where.T), jnp.asarray(pivot), axis=0).T, expected)
