import jax
import jax.numpy as jnp
import numpy as np

from rlx.diagnostics import action_gap, optimal_multiplicity


def test_by_hand() -> None:
    q = jnp.array([[1.0, 0.25, 0.0], [1.0, 1.0, 0.0], [2.0, 2.0, 2.0], [-3.0, -1.0, -2.5]])
    np.testing.assert_allclose(action_gap(q), [0.75, 0, 0, 1.5])
    np.testing.assert_array_equal(optimal_multiplicity(q), [1, 2, 3, 1])
    np.testing.assert_array_equal(optimal_multiplicity(q, tolerance=0.8), [2, 2, 3, 1])
    np.testing.assert_allclose(action_gap(q.T, axis=0), action_gap(q))


def test_equal_sorted_values_with_masks(rng, float64) -> None:
    q = np.round(rng.normal(size=(60, 5)), 1)
    where = rng.random((60, 5)) < 0.5
    where[0], where[1] = False, np.arange(5) == 1  # no action at all, and one that cannot tie
    gap = jax.jit(action_gap)(jnp.asarray(np.where(where, q, np.nan)), where=jnp.asarray(where))
    count = jax.jit(optimal_multiplicity)(jnp.asarray(np.where(where, q, np.nan)), where=jnp.asarray(where))
    for row in range(60):
        kept = np.sort(q[row, where[row]])[::-1]
        expected = 0 if len(kept) == 0 else np.inf if len(kept) == 1 else kept[0] - kept[1]
        np.testing.assert_allclose(gap[row], expected, atol=1e-12)
        assert count[row] == np.sum(kept == kept[:1])
    np.testing.assert_array_equal(gap == 0, count != 1)  # a tie, or no action at all
