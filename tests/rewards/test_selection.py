import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.rewards import knockout

compiled = jax.jit(knockout)


def by_rounds(preference, field):
    """The tournament with lists, one match at a time."""
    while len(field) > 1:
        pairs = [field[k : k + 2] for k in range(0, len(field), 2)]
        beats = lambda i, j: preference[i, j] >= preference[j, i]
        field = [pair[0] if len(pair) == 1 or beats(*pair) else pair[1] for pair in pairs]
    return field[0]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_equals_a_tournament_of_lists(rng, count) -> None:
    preference = rng.random((20, count, count)).astype(np.float32)
    expected = [by_rounds(p, list(range(count))) for p in preference]
    np.testing.assert_array_equal(compiled(jnp.asarray(preference)), expected)


def test_finds_the_best_of_a_consistent_judge_whatever_its_bias(rng) -> None:
    quality = rng.normal(size=(30, 6))
    margin = quality[:, :, None] - quality[:, None, :]
    for bias in (0.0, 3.0):  # added to whoever is shown first
        preference = jnp.asarray(1 / (1 + np.exp(-margin - bias)), jnp.float32)
        np.testing.assert_array_equal(compiled(preference), quality.argmax(-1))


def test_absent_candidates_lose(rng) -> None:
    quality, where = rng.normal(size=(40, 6)), rng.random((40, 6)) < 0.5
    where[0] = False
    preference = quality[:, :, None] - quality[:, None, :]
    preference[~where] = np.nan
    preference = np.where(where[:, None], preference, np.nan)
    expected = np.where(where, quality, -np.inf).argmax(-1)
    winner = compiled(jnp.asarray(preference, jnp.float32), where=jnp.asarray(where))
    np.testing.assert_array_equal(winner, expected)


def test_a_table_that_is_not_square_is_named(unannotated) -> None:
    with unannotated, pytest.raises(ValueError, match=r"preference must be square.*\(2, 3\)"):
        knockout(jnp.zeros((2, 3)))
