import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.data import best_worst_pair
from rlx.diagnostics import rank_consistency


def ordinal_ranks(row):
    return np.argsort(np.argsort(row, kind="stable"), kind="stable")


def test_oracles() -> None:
    scores = jnp.array([0.1, 0.7, 0.3, 0.9]), jnp.array([0.2, 0.3, 0.5, 0.8])
    np.testing.assert_allclose(rank_consistency(*scores), 0.833333, atol=1e-6)
    np.testing.assert_allclose(rank_consistency(*scores, kind="spearman"), 0.9, atol=1e-6)
    assert rank_consistency(*scores, kind="top_order") == 1


def test_equals_counting_of_ordinal_ranks_with_ties(rng) -> None:
    scores = rng.integers(0, 4, (2, 20, 5)).astype(np.float32)
    kinds = jax.jit(lambda a, b: [rank_consistency(a, b, kind=kind) for kind in ("kendall", "spearman", "top_order")])
    kendall, spearman, top_order = kinds(*map(jnp.asarray, scores))
    for i in range(20):
        a, b = (ordinal_ranks(x[i]) for x in scores)
        tau = sum(np.sign((a[j] - a[k]) * (b[j] - b[k])) for j in range(5) for k in range(j)) / 10
        np.testing.assert_allclose(kendall[i], (tau + 1) / 2, rtol=1e-6)
        np.testing.assert_allclose(spearman[i], (np.corrcoef(a, b)[0, 1] + 1) / 2, rtol=1e-6, atol=1e-7)
        pairs = [(np.argmax(x[i]), np.argmin(x[i])) for x in scores]
        assert top_order[i] == (pairs[0] == pairs[1])


@pytest.mark.parametrize("kind", ["kendall", "spearman", "top_order"])
def test_same_and_opposite_order(kind) -> None:
    score = jnp.arange(4.0)[:, None] * jnp.ones(3)
    np.testing.assert_allclose(rank_consistency(score, score**3, kind=kind, axis=0), [1, 1, 1])
    np.testing.assert_allclose(rank_consistency(score, -score, kind=kind, axis=0), [0, 0, 0], atol=1e-7)
    with pytest.raises(ValueError, match="at least 2 responses"):
        rank_consistency(score[:1], score[:1], kind=kind, axis=0)


def test_best_worst_pair() -> None:
    score = jnp.array([[0.1, 0.9, 0.9], [2.0, 2.0, 2.0], [3.0, -1.0, -1.0]])
    chosen, rejected = best_worst_pair(score)
    np.testing.assert_array_equal(chosen, [1, 0, 0])
    np.testing.assert_array_equal(rejected, [0, 0, 1])
    np.testing.assert_array_equal(best_worst_pair(score, axis=0), [[2, 1, 1], [0, 2, 2]])
