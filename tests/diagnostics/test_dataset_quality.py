import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import diagnostics
from rlx.diagnostics import positive_sided_variance, state_action_coverage, trajectory_quality

unique_state_action = jax.jit(diagnostics.unique_state_action, static_argnames="bins")


def test_positive_sided_variance_oracle_and_equals_numpy(rng) -> None:
    np.testing.assert_allclose(positive_sided_variance(jnp.array([10.0, 50.0, 100.0])), 725.925926, rtol=1e-6)
    episode_return, where = rng.normal(size=(4, 9)), rng.random((4, 9)) < 0.7
    variance = positive_sided_variance(jnp.asarray(episode_return, jnp.float32), where=jnp.asarray(where))
    for row, kept, actual in zip(episode_return, where, variance, strict=True):
        expected = np.mean(np.maximum(row[kept] - row[kept].mean(), 0) ** 2)
        np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_few_good_trajectories_have_a_larger_positive_sided_variance_than_few_bad_ones() -> None:
    few_good = jnp.array([0.0] * 9 + [1.0])
    assert positive_sided_variance(few_good) > 5 * positive_sided_variance(1 - few_good)


def test_trajectory_quality_oracle() -> None:
    quality = trajectory_quality(jnp.array([103.0, 88.5, 250.0]), minimum=21.5, maximum=400.0)
    np.testing.assert_allclose(quality, 0.332012, rtol=1e-5)
    where = jnp.array([True, False])
    assert trajectory_quality(jnp.array([4.0, jnp.nan]), minimum=4.0, maximum=9.0, where=where) == 0


ROWS = jnp.array([[0.0, 0.0], [0.49, 1.0], [1.0, 1.0], [0.0, 0.001], [0.5, 0.5]])


def test_unique_oracle() -> None:
    assert unique_state_action(ROWS[:, :1], ROWS[:, 1:]) == 4
    assert unique_state_action(ROWS, jnp.zeros(5, jnp.int32)) == 4
    assert unique_state_action(ROWS, jnp.arange(5)) == 5
    assert unique_state_action(ROWS[:0], jnp.zeros(0), low=0.0, high=1.0) == 0


@pytest.mark.parametrize("limits", [{}, {"low": -1.0, "high": 0.5}])
def test_unique_equals_numpy_digitize(rng, limits) -> None:
    observation = rng.normal(size=(90, 2, 2)).astype(np.float32)[rng.integers(0, 90, 400)]
    action = rng.integers(0, 3, 400)
    rows = np.concatenate([observation.reshape(400, 4), action[:, None]], 1)
    binned = np.stack(
        [
            np.digitize(x, np.linspace(limits.get("low", x.min()), limits.get("high", x.max()), 7))
            for x in rows.T.astype(np.float32)
        ]
    )
    count = lambda s, a: unique_state_action(s, a, bins=7, **limits)
    arrays = jnp.asarray(observation), jnp.asarray(action, jnp.int32)
    assert count(*arrays) == len(np.unique(binned, axis=1).T)
    again = [jnp.concatenate([x, x[::-1]]) for x in arrays]
    assert count(*again) == count(*arrays)  # duplicates and order do not matter


def test_unique_distinguishes_columns_and_many_rows() -> None:
    """Rows that hold the same bins in another order, and all 2^14 combinations of 14 binary features."""
    bits = (jnp.arange(2**14)[:, None] >> jnp.arange(14)) & 1
    assert unique_state_action(bits[:, :13].astype(jnp.float32), bits[:, 13], bins=2) == 2**14


def test_unique_needs_as_many_actions_as_observations(unannotated) -> None:
    with unannotated, pytest.raises(ValueError, match="equally many rows, got 5 and 4"):
        unique_state_action(ROWS, ROWS[:4])


def test_coverage_is_1_for_the_reference_and_may_exceed_it() -> None:
    np.testing.assert_allclose(state_action_coverage(jnp.array([50, 100, 200]), reference=100), [0.5, 1, 2])
    logs = state_action_coverage(jnp.array([10, 100, 1000]), reference=100, logarithmic=True)
    np.testing.assert_allclose(logs, [0.5, 1, 1.5], rtol=1e-6)
