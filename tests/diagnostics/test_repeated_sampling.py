"""pass@k and maj@k equal averages over all subsets, or over all that the estimator draws."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.diagnostics import majority_at_k, pass_at_k

CORRECT = jnp.array([[0, 1, 0, 0, 1, 0], [0] * 6, [1] * 6, [0, 0, 0, 0, 0, 1]], bool)


@pytest.mark.parametrize("k", [1, 2, 5, 6])
def test_pass_at_k_is_the_mean_over_all_subsets(k):
    subsets = list(itertools.combinations(range(6), k))
    expected = [np.mean([np.asarray(row)[list(s)].any() for s in subsets]) for row in CORRECT]
    np.testing.assert_allclose(pass_at_k(CORRECT, k=k), expected, atol=1e-6)
    np.testing.assert_allclose(pass_at_k(CORRECT.T, k=k, axis=0), expected, atol=1e-6)


def test_pass_at_k_of_many_samples_and_several_k():
    correct = jnp.arange(1000) < 3
    found = jax.vmap(lambda k: pass_at_k(correct, k=k))(jnp.array([1, 100, 997, 998]))
    expected = [0.003, 1 - (900 * 899 * 898) / (1000 * 999 * 998), 1 - 6 / (1000 * 999 * 998), 1.0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_majority_counts_votes_and_shares_ties():
    answer = jnp.array([[7, 7, 3, 3, 5, 9], [1, 1, 1, 2, 2, 2]])
    correct = answer == jnp.array([[3], [1]])
    # Of three: (7 7 3) and (3 5 9); of four: (7 7 3 3), which is half right; of six: a tie of two answers.
    np.testing.assert_allclose(majority_at_k(answer, correct, k=3), [(0 + 1 / 3) / 2, 0.5], atol=1e-6)
    np.testing.assert_allclose(majority_at_k(answer, correct, k=4), [0.5, 1.0], atol=1e-6)
    np.testing.assert_allclose(majority_at_k(answer, correct, k=6), [0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(majority_at_k(answer, correct, k=1), correct.mean(-1), atol=1e-6)


def test_majority_is_unbiased():
    """Over draws of six samples the estimate for k = 3 has the mean that three fresh samples have."""
    share = np.array([0.45, 0.35, 0.2])
    exact = 0.0
    for votes in itertools.product(range(3), repeat=3):
        counts = np.bincount(votes, minlength=3)
        best = np.flatnonzero(counts == counts.max())
        exact += np.prod(share[list(votes)]) * (0 in best) / len(best)
    draws = jnp.asarray(np.random.default_rng(0).choice(3, size=(40_000, 6), p=share))
    np.testing.assert_allclose(majority_at_k(draws, draws == 0, k=3).mean(), exact, atol=0.005)


@pytest.mark.parametrize("k", [0, 7])
def test_k_must_fit(k):
    with pytest.raises(ValueError, match=f"k must lie between 1 and the 6 samples, got {k}"):
        pass_at_k(CORRECT, k=k)
