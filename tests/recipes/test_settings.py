"""What is said at a field is what is checked, swept and shown."""

import dataclasses
import math
import typing
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import recipes
from rlx.cli.errors import one_line
from rlx.recipes import settings as module
from rlx.recipes.settings import SettingError, contains, setting


@dataclasses.dataclass(frozen=True)
class Example:
    rate: float = setting(1e-3, "A rate.", within="(0, inf)", swept=True)
    share: float | None = setting(None, "A share.", within="[0, 1]", swept=True)
    count: int = setting(8, "A count.", within="[1, inf)")
    sizes: tuple[int, ...] = setting((8, 8), "Sizes.", within="[1, inf)")
    kind: Literal["a", "b"] = setting("a", "A kind.")
    word: str = setting("", "A word.")
    on: bool = setting(False, "A switch.")

    def __post_init__(self):
        module.check(self)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 0.0}, r"rate must be in \(0, inf\), got 0.0"),
        ({"rate": float("nan")}, r"rate must be in \(0, inf\), got nan"),
        ({"rate": float("inf")}, r"rate must be in \(0, inf\), got inf"),
        ({"rate": np.float32(-1)}, r"rate must be in \(0, inf\)"),
        ({"rate": "fast"}, "rate must be a number, got 'fast'"),
        ({"rate": True}, "rate must be a number, got True"),
        ({"rate": None}, "rate must be a number, got None"),
        ({"share": 1.5}, r"share must be in \[0, 1\], got 1.5"),
        ({"count": 0}, r"count must be in \[1, inf\), got 0"),
        ({"count": 2.5}, "count must be a whole number, got 2.5"),
        ({"count": float("inf")}, "count must be a whole number, got inf"),
        ({"sizes": (8, 0)}, r"sizes must be in \[1, inf\), got 0"),
        ({"sizes": 8}, "sizes must be a tuple, got 8"),
        ({"kind": "c"}, "kind must be one of 'a', 'b', got 'c'"),
        ({"word": 3}, "word must be a string, got 3"),
        ({"on": 1}, "on must be True or False, got 1"),
    ],
)
def test_a_wrong_value_is_named_with_its_range(values, message):
    with pytest.raises(SettingError, match=message):
        Example(**values)


def test_what_people_write_is_taken():
    config = Example(count=1e3, sizes=[4, 2.0], share=None, rate=1)
    assert (config.count, config.sizes, config.rate) == (1000, (4, 2), 1)
    assert isinstance(config.count, int) and isinstance(config.sizes[1], int)


def test_traced_values_pass():
    """A sweep puts arrays where a number stands; their values were checked before they became arrays."""
    rates = jax.jit(jax.vmap(lambda rate: dataclasses.replace(Example(), rate=rate).rate * 2))(jnp.arange(3.0))
    np.testing.assert_array_equal(rates, [0, 2, 4])


def test_swept_fields_in_use_are_hyperparameters():
    assert module.swept_names(Example) == ("rate", "share")
    assert module.hyperparameters(Example()) == {"rate": 1e-3}
    assert module.hyperparameters(Example(share=0.5)) == {"rate": 1e-3, "share": 0.5}


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("(0, 1]", (1e-9, 1), (0, 1.1)),
        ("[0, 1)", (0, 0.5), (1, -0.1)),
        ("[1, inf)", (1, 1e30), (0.9,)),
        (None, (-5,), ()),
    ],
)
def test_intervals(interval, inside, outside):
    assert all(contains(interval, x) for x in inside) and not any(contains(interval, x) for x in outside)


NAMES = [*recipes.RECIPES, *recipes.VARIANTS]
ANY_NUMBER = {"entropy_coefficient", "target_entropy", "reward_shift", "gap_target", "target_return"}
"""Fields for which every finite number makes sense."""


def numeric_fields(kind):
    """Fields of numbers: name, `int` or `float`, whether it holds several, what is said of it."""
    for name, hint in module.type_hints(kind).items():
        if name not in module.settings(kind):
            continue
        parts = set(typing.get_args(hint)) or {hint}
        tuples = {part for part in (*parts, hint) if typing.get_origin(part) is tuple}
        for number in (int, float):
            if number in parts | {part for of in tuples for part in typing.get_args(of)}:
                yield name, number, bool(tuples), module.settings(kind)[name]


def outside(number, known):
    """Numbers just below and just above a range."""
    interval = module.range_of(number, known) or "(-inf, inf)"
    low, high = module.bounds(interval)
    if number is int:
        return int(low) - 1, int(high) + 1
    below = -1e39 if low == -math.inf else low if interval[0] == "(" else np.nextafter(low, -1)
    above = 1e39 if high == math.inf else high if interval[-1] == ")" else high + 1e-6
    return below, above


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_every_recipe_has_a_range(name):
    """What is no number, or lies below or above, is refused by a line that names the flag and the range."""
    config = recipes.recipe(name).config
    fields = list(numeric_fields(config))
    assert {field for field, _, _, known in fields if known.within is None} <= ANY_NUMBER
    for field, number, several, known in fields:
        interval = module.range_of(number, known)
        right = "finite" if interval is None else f"in {interval}"
        for wrong in (math.nan, math.inf, -math.inf, *outside(number, known)):
            with pytest.raises(SettingError) as error:
                config(**{field: (wrong,) if several else wrong})
            line = one_line(error.value)
            assert line.startswith(f"--{field.strip('_').replace('_', '-')} must be "), line
            whole = number is int and not math.isfinite(wrong)
            said = ("a whole number",) if whole else (right, f"in {known.within}")
            assert any(part in line for part in said), line


def test_whole_numbers_end_where_32_bits_do():
    assert Example(count=2**31 - 1).count == 2**31 - 1
    with pytest.raises(SettingError, match=r"count must be in \[1, 2147483647\], got 2147483648"):
        Example(count=2**31)


@pytest.mark.parametrize(("rate", "single"), [(1e-60, "0.0"), (1e300, "inf")])
def test_numbers_that_32_bits_do_not_hold_are_refused(rate, single):
    with pytest.raises(SettingError, match=rf"rate must be in \(0, inf\), got .*, which is {single} in 32 bits"):
        Example(rate=rate)
