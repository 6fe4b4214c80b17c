import jax
import jax.numpy as jnp
import numpy as np

from rlx.weighting import cumulative_credit, first_error_mask

SCORE = jnp.array([[0.9, 0.8, 0.3, 0.95], [0.2, 0.9, 0.9, 0.9], [0.6, 0.7, 0.8, 0.9]])


def test_first_error_oracle() -> None:
    expected = [[True, True, False, False], [False] * 4, [True] * 4]
    np.testing.assert_array_equal(first_error_mask(SCORE), expected)
    np.testing.assert_array_equal(first_error_mask(SCORE.T, axis=0).T, expected)


def test_masked_steps_are_no_errors(rng) -> None:
    where = jnp.array([[True, True, False, True], [False, True, False, True], [True] * 4])
    for poison in (jnp.nan, -jnp.inf, 0):
        np.testing.assert_array_equal(first_error_mask(jnp.where(where, SCORE, poison), where=where), where)
    np.testing.assert_array_equal(first_error_mask(SCORE, threshold=-jnp.inf, where=where), where)
    mask = first_error_mask(jnp.asarray(rng.random((20, 6))), threshold=0.3).astype(int)
    assert jnp.all(jnp.diff(mask, axis=-1) <= 0), "a mask of the first steps"


def test_cumulative_credit_oracle() -> None:
    positive, negative = cumulative_credit(jnp.array([2.0, 1, -3, -2]))
    np.testing.assert_allclose(positive, [0.761594, 0.635149, 0, 0], atol=1e-6)
    np.testing.assert_allclose(negative, [0, 0, 0, 0.244919], atol=1e-6)


def test_cumulative_credit_equals_numpy(rng, float64) -> None:
    score, where = 3 * rng.normal(size=(5, 9)), rng.random((5, 9)) < 0.6
    where[0] = False
    expected = np.zeros((2, 5, 9))
    for i, t in zip(*np.nonzero(where), strict=True):
        q = 1 / (1 + np.exp(-np.mean(score[i, : t + 1][where[i, : t + 1]])))
        expected[:, i, t] = np.clip((np.array([q, 1 - q]) - 0.4) / 0.6, 0, 1)
    both = cumulative_credit(jnp.asarray(score), threshold=0.4, where=jnp.asarray(where))
    np.testing.assert_allclose(both, expected, rtol=1e-10, atol=1e-12)
    swapped = cumulative_credit(jnp.asarray(score.T), threshold=0.4, where=jnp.asarray(where.T), axis=0)
    np.testing.assert_allclose([x.T for x in swapped], expected, rtol=1e-10, atol=1e-12)


def test_at_one_half_no_token_has_both_weights(rng) -> None:
    positive, negative = cumulative_credit(jnp.asarray(rng.normal(size=(8, 7))))
    assert not jnp.any((positive > 0) & (negative > 0))
    assert not jnp.any(jax.grad(lambda x: sum(w.sum() for w in cumulative_credit(x)))(SCORE))
