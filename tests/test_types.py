import jax.numpy as jnp
import numpy as np
import pytest

from rlx.types import check_broadcast, check_choice, check_mask, elements, floating, like


def test_python_numbers_take_the_dtype_of_the_arrays() -> None:
    x, one = floating(x=jnp.zeros(3, jnp.bfloat16), one=1)
    assert x.dtype == one.dtype == jnp.bfloat16


def test_python_integers_alone_become_floats() -> None:
    (one,) = floating(one=1)
    assert one.dtype == jnp.float32


def test_arrays_meet_in_the_wider_dtype() -> None:
    assert {x.dtype for x in floating(x=jnp.zeros(2, jnp.bfloat16), y=jnp.zeros(2))} == {jnp.dtype("float32")}


@pytest.mark.parametrize("wrong", [jnp.arange(3), jnp.ones(3, bool), jnp.ones(3, complex), True])
def test_other_dtypes_are_refused_with_the_way_out(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"advantage must be a floating-point array, got dtype .*astype|asarray"):
        floating(advantage=wrong)


def test_hyperparameters_follow_the_data() -> None:
    assert like(jnp.zeros((), jnp.bfloat16), jnp.float32(0.2), 1)[0].dtype == jnp.bfloat16


def test_an_accidental_outer_product_is_refused() -> None:
    with pytest.raises(ValueError, match=r"which no argument has: value \(5, 1\), target \(5,\)"):
        check_broadcast(value=jnp.zeros((5, 1)), target=jnp.zeros(5))


def test_broadcasting_to_an_argument_is_allowed() -> None:
    shapes = {
        "log_prob": jnp.zeros((2, 5)),
        "advantage": jnp.zeros((2, 1)),
        "std": jnp.zeros(5),
        "none": None,
    }
    assert check_broadcast(**shapes) == (2, 5)


def test_shapes_that_do_not_broadcast_are_listed() -> None:
    with pytest.raises(ValueError, match=r"do not broadcast: value \(4,\), target \(5,\)"):
        check_broadcast(value=jnp.zeros(4), target=jnp.zeros(5))


def test_a_mask_is_boolean() -> None:
    check_mask(None)
    check_mask(np.array([True]))
    with pytest.raises(ValueError, match="where must be a boolean mask .* got dtype float32"):
        check_mask(jnp.ones(3))


def test_masked_elements_are_zero_before_any_arithmetic() -> None:
    (x,) = elements(x=jnp.array([1.0, jnp.nan]), where=jnp.array([True, False]))
    np.testing.assert_array_equal(x, [1, 0])


def test_an_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="level must be one of 'token', 'prefix', got 'word'"):
        check_choice("level", "word", ("token", "prefix"))
