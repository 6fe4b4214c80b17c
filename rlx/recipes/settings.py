"""What a field of a config is, said once at the field: its help, its group, its range, whether it may be swept.

    learning_rate: float = setting(3e-4, "Adam's step size.", within="(0, inf)", swept=True)

From that follow `--help`, the checks of values, sweeps and the record of a run.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import math
import numbers
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

GROUPS = ("environment", "data", "scale", "algorithm", "network", "folder", "reporting", "device")
"""Groups of the command line, in the order of the help."""

LARGEST_COUNT = 2**31 - 1
"""Largest whole number that a program can count to: JAX counts in 32 bits."""

POSITIVE = "(0, inf)"
COUNT = "[1, inf)"
STEPS = "[1, 1e15]"
"""Steps of a whole run, which no program counts: it counts updates."""
FRACTION = "[0, 1]"
SHARE = "(0, 1]"
NOT_NEGATIVE = "[0, inf)"


class Setting(NamedTuple):
    """What is known of a field.

    Attributes:
        help: a sentence or two that stand on their own.
        group: one of `GROUPS`.
        within: interval that its numbers lie in, such as `"(0, 1]"`; None for any finite number. Where it has no end,
            whole numbers end with 32 bits, and others with single precision, which programs compute in.
        swept: whether it may be swept; its value may then be a traced array.
    """

    help: str
    group: str
    within: str | None
    swept: bool


class SettingError(ValueError):
    """A field has a value that it cannot have.

    Attributes:
        name: the field.
        reason: what is wrong, and what is right.
    """

    def __init__(self, name: str, reason: str):
        super().__init__(f"{name} {reason}")
        self.name, self.reason = name, reason


def setting(
    default: Any, help: str, *, group: str = "algorithm", within: str | None = None, swept: bool = False
) -> Any:
    """A field of a config.

    Args:
        default: its default, which need not lie within the range where None means that it is not in use.
        help: a sentence or two that stand on their own.
        group: one of `GROUPS`.
        within: interval that its numbers lie in, such as `"(0, 1]"`; None for any finite number.
        swept: whether it may be swept: its value may then be a traced array.
    """
    return dataclasses.field(default=default, metadata={"setting": Setting(help, group, within, swept)})


def settings(kind: type) -> dict[str, Setting]:
    """The settings of a config's fields, by name."""
    return {field.name: field.metadata["setting"] for field in dataclasses.fields(kind)}


def swept_names(kind: type) -> tuple[str, ...]:
    """Names of the fields that may be swept."""
    return tuple(name for name, known in settings(kind).items() if known.swept)


def hyperparameters(config: Any) -> dict[str, Any]:
    """The numbers of a config that may be swept, those that are in use."""
    values = {name: getattr(config, name) for name in swept_names(type(config))}
    return {name: value for name, value in values.items() if value is not None}


def check(config: Any) -> None:
    """Check the values of a config's fields; whole numbers written as floats become integers.

    What is not a plain number, such as a traced array of a sweep, is passed over.

    Raises:
        SettingError: a value of another type, out of its range, NaN or infinite.
    """
    hints = type_hints(type(config))
    for name, known in settings(type(config)).items():
        value = checked(name, getattr(config, name), hints[name], known)
        object.__setattr__(config, name, value)


@functools.cache
def type_hints(kind: type) -> Mapping[str, Any]:
    """Types of a config's fields."""
    return typing.get_type_hints(kind)


def checked(name: str, value: Any, hint: Any, known: Setting) -> Any:
    """A value of a field, as the field has it.

    Raises:
        SettingError: a value of another type, out of its range, NaN or infinite.
    """
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        if value is None:
            return None
        (hint,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
    if typing.get_origin(hint) is Literal:
        if value not in typing.get_args(hint):
            raise SettingError(name, f"must be one of {', '.join(map(repr, typing.get_args(hint)))}, got {value!r}")
    elif typing.get_origin(hint) is tuple:
        if isinstance(value, str) or not isinstance(value, (tuple, list)):
            raise SettingError(name, f"must be a tuple, got {value!r}")
        part = typing.get_args(hint)[0]
        return tuple(checked(name, x, part, known) for x in value)
    elif hint is bool and not isinstance(value, bool):
        raise SettingError(name, f"must be True or False, got {value!r}")
    elif hint is str and not isinstance(value, str):
        raise SettingError(name, f"must be a string, got {value!r}")
    elif hint in (int, float):
        return _checked_number(name, value, hint, known)
    return value


def _checked_number(name: str, value: Any, hint: type, known: Setting) -> Any:
    if hasattr(value, "dtype") and not isinstance(value, numbers.Number):
        return value  # an array, perhaps traced, of a sweep
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise SettingError(name, f"must be a number, got {value!r}")
    try:
        float(value)
    except OverflowError:
        raise SettingError(name, "must be below 1e308, got a number of more digits") from None
    if hint is float:
        value = float(value)
    elif not isinstance(value, numbers.Integral):
        if not (math.isfinite(value) and value == int(value)):
            raise SettingError(name, f"must be a whole number, got {value!r}")
        value = int(value)
    # What a program computes with has 32 bits: a number that they do not hold would be another one there.
    computed = value if hint is int else ctypes.c_float(value).value
    for interval in (known.within, range_of(hint, known)):
        right = "finite" if interval is None else f"in {interval}"
        if not contains(interval, value) or not math.isfinite(value):
            raise SettingError(name, f"must be {right}, got {value!r:.40}")
    if not contains(interval, computed) or not math.isfinite(computed):
        raise SettingError(name, f"must be {right}, got {value!r:.40}, which is {computed} in 32 bits")
    return value


def range_of(hint: type, known: Setting) -> str | None:
    """The interval of a field's numbers, None for all finite ones; whole numbers have 32 bits unless it says more."""
    if hint is not int:
        return known.within
    interval = known.within or "(-inf, inf)"
    return interval.replace("(-inf", f"[{-LARGEST_COUNT}").replace("inf)", f"{LARGEST_COUNT}]")


def contains(interval: str | None, value: float) -> bool:
    """Whether a number lies in an interval such as `"(0, 1]"`; None contains all."""
    if interval is None:
        return True
    low, high = bounds(interval)
    above = value > low if interval[0] == "(" else value >= low
    below = value < high if interval[-1] == ")" else value <= high
    return above and below


def bounds(interval: str) -> tuple[float, float]:
    """The ends of an interval such as `"(0, 1]"`."""
    low, high = interval[1:-1].split(",")
    return float(low), float(high)
