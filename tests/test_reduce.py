import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rlx import reduce

X = jnp.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [9.0, 9.0, 9.0, 9.0]])
WHERE = jnp.array([[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]], bool)


@pytest.mark.parametrize(
    ("function", "options", "expected"),
    [
        (reduce.mean, {}, 11 / 4),
        (reduce.token_mean, {}, 11 / 4),
        (reduce.sequence_mean, {}, (2 + 5) / 2),
        (reduce.sequence_mean, {"empty": "count"}, (2 + 5) / 3),
        (reduce.sequence_mean, {"inner": "sum"}, (6 + 5) / 2),
        (reduce.sequence_mean, {"inner": "sum", "empty": "count"}, (6 + 5) / 3),
        (reduce.constant_length, {"length": 4}, (6 + 5) / (3 * 4)),
    ],
)
def test_by_hand(function, options, expected) -> None:
    np.testing.assert_allclose(function(X, where=WHERE, **options), expected, rtol=1e-6)


def test_mean_along_an_axis() -> None:
    np.testing.assert_allclose(reduce.mean(X, where=WHERE, axis=0), [3, 2, 3, 0])
    np.testing.assert_allclose(reduce.mean(X, axis=1), [2.5, 6.5, 9])


def test_the_token_axis_may_lead() -> None:
    for function in (reduce.sequence_mean, lambda x, **k: reduce.constant_length(x, length=3.0, **k)):
        np.testing.assert_allclose(function(X.T, where=WHERE.T, axis=0), function(X, where=WHERE), rtol=1e-6)


@pytest.mark.parametrize("function", [reduce.mean, reduce.token_mean, reduce.sequence_mean])
def test_nothing_that_counts_gives_zero_and_no_gradient(function) -> None:
    value, slope = jax.value_and_grad(lambda x: function(x, where=jnp.zeros(X.shape, bool)))(X * jnp.nan)
    assert value == 0
    np.testing.assert_array_equal(slope, 0)


def test_bfloat16_is_summed_in_float32() -> None:
    ones = jnp.ones((1000, 7), jnp.bfloat16)
    assert reduce.mean(ones, where=jnp.ones(ones.shape, bool)) == 1


def test_unknown_options() -> None:
    with pytest.raises(ValueError, match="inner must be one of 'mean', 'sum', got 'median'"):
        reduce.sequence_mean(X, inner="median")
    with pytest.raises(ValueError, match="empty must be one of 'skip', 'count', got 'drop'"):
        reduce.sequence_mean(X, empty="drop")


values = hnp.arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32))
masks = hnp.arrays(bool, (3, 4))
reductions = st.sampled_from(
    [
        reduce.token_mean,
        reduce.sequence_mean,
        lambda x, where: reduce.sequence_mean(x, where=where, inner="sum", empty="count"),
        lambda x, where: reduce.constant_length(x, where=where, length=5.0),
    ]
)


@given(values, values, masks, reductions)
def test_reductions_are_linear(x, y, where, reduction) -> None:
    x, y, where = jnp.asarray(x), jnp.asarray(y), jnp.asarray(where)
    together = reduction(2 * x - y, where=where)
    apart = 2 * reduction(x, where=where) - reduction(y, where=where)
    np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-3)


@given(values, masks, st.permutations(range(3)), reductions)
def test_sequences_have_no_order(x, where, order, reduction) -> None:
    order = np.array(order)
    np.testing.assert_allclose(
        reduction(jnp.asarray(x[order]), where=jnp.asarray(where[order])),
        reduction(jnp.asarray(x), where=jnp.asarray(where)),
        rtol=1e-4,
        atol=1e-4,
    )


@given(values)
def test_the_three_agree_on_sequences_of_full_length(x) -> None:
    expected, x = np.mean(x, dtype=np.float64), jnp.asarray(x)
    for value in (reduce.token_mean(x), reduce.sequence_mean(x), reduce.constant_length(x, length=4)):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)
