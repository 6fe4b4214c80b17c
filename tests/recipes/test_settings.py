"""What is said at a field is what is checked, swept and shown."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
