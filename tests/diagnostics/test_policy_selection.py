"""The bandit that finds out which of many policies to use, against one written apart and its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.diagnostics import bandit_selection


def average(score, repeats=400, **options):
    keys = jax.random.split(jax.random.key(0), repeats)
    return np.asarray(jnp.mean(jax.jit(jax.vmap(lambda key: bandit_selection(key, score, **options)))(keys), axis=0))


def bandit(rng, score, num_pulls, exploration):
    """One bandit in NumPy, float64."""
    counts, totals, result = np.zeros(len(score)), np.zeros(len(score)), []
    for t in range(1, num_pulls + 1):
        if (counts == 0).any():
            arm = rng.choice(np.flatnonzero(counts == 0))
        else:
            arm = np.argmax(totals / counts + np.sqrt(exploration * np.log(t) / counts))
        counts[arm] += 1
        totals[arm] += rng.choice(score[arm])
        tried = np.flatnonzero(counts)
        result.append(score[tried[np.argmax(totals[tried] / counts[tried])]].mean())
    return result


def test_on_the_average_it_does_as_a_bandit_written_apart():
    rng = np.random.default_rng(0)
    score = rng.normal([[0.0], [0.4], [1.0], [0.8]], 1.0, (4, 50)).astype(np.float32)
    expected = np.mean([bandit(rng, score.astype(np.float64), 40, 2.0) for _ in range(1500)], axis=0)
    found = average(jnp.asarray(score), repeats=1500, num_pulls=40, exploration=2.0)
    np.testing.assert_allclose(found, expected, atol=0.06)


def test_one_evaluation_is_a_choice_at_random_and_many_find_the_best():
    score = jnp.array([[0.0, 1.0, 2.0], [5.0, 6.0, 7.0], [-9.0, -8.0, -7.0]])
    curve = average(score, num_pulls=60)
    np.testing.assert_allclose(curve[0], np.mean([1.0, 6.0, -8.0]), atol=0.7)
    np.testing.assert_allclose(curve[3:], 6.0, atol=1e-5)


def test_of_negative_scores_it_takes_one_that_was_evaluated():
    """Unlike the reference code, for which a policy without any evaluation has a mean of 0."""
    curve = bandit_selection(jax.random.key(1), jnp.array([[-1.0], [-50.0]]), num_pulls=2)
    assert curve[1] == -1.0


def test_it_chooses_among_so_many_drawn_policies():
    score = jnp.arange(8.0)[:, None]
    curve = average(score, num_pulls=8, num_policies=2)
    # The better of two of eight without replacement.
    np.testing.assert_allclose(curve[-1], np.mean([max(i, j) for i in range(8) for j in range(i)]), atol=0.3)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_policies": 3}, "num_policies must lie between 1 and the 2 policies"),
        ({"num_policies": 0}, "num_policies must lie between"),
        ({"num_pulls": 0}, "num_pulls must be at least 1"),
    ],
)
def test_counts_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        bandit_selection(jax.random.key(0), jnp.zeros((2, 3)), **options)


def test_scores_have_two_axes(unannotated):
    with unannotated, pytest.raises(ValueError, match="policy, evaluation"):
        bandit_selection(jax.random.key(0), jnp.zeros(3))
