"""Checks of what a name is given, as in `addition@digits=4`: whether there is such an option, and of what type it is.

Types are those that the function behind the name declares, so that a text where a number belongs is told from a right
value before the function, or anything that it makes, meets it.
"""

from __future__ import annotations

import collections.abc
import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlx.envs.registry import nearest

_RIGHT = {int: "a whole number", float: "a finite number", bool: "True or False", str: "a text", types.NoneType: "None"}


def declared(*functions: Callable, without: Sequence[str] = ()) -> dict[str, Any]:
    """Type of each option that functions take as keywords."""
    known = {}
    for function in functions:
        # What it returns may be of a module that is imported for type checkers alone.
        hints = {name: hint for name, hint in function.__annotations__.items() if name not in (*without, "return")}
        holder = type("Options", (), {"__annotations__": hints})
        known |= typing.get_type_hints(holder, globalns=function.__globals__)
    return known


def check(of: str, given: Mapping[str, Any], known: Mapping[str, Any], *, what: str = "option") -> None:
    """Check names and types of options. Arrays, which may be traced, are passed over.

    Args:
        of: what the options are of.
        given: the options.
        known: of `declared`.
        what: what an option is called.

    Raises:
        ValueError: there is no such option, or it must be of another type, or is a number that is not finite.
    """
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"{of} has no {what} {name!r}; {nearest(name, known)}")
        is_array = hasattr(value, "dtype") and not isinstance(value, numbers.Number)
        kinds = _kinds(known[name])
        if not is_array and not any(_is(value, kind) for kind in kinds):
            right = " or ".join(_RIGHT.get(kind) or _name(kind) for kind in kinds)
            raise ValueError(f"{of}: {name} must be {right}, got {value!r:.80}")


def _kinds(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _is(value: Any, kind: Any) -> bool:
    if kind is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and abs(value) < math.inf
    if (of := typing.get_origin(kind)) is collections.abc.Callable:
        return callable(value)
    if of is collections.abc.Sequence:
        return isinstance(value, Sequence) and not isinstance(value, str)
    return not isinstance(kind, type) or isinstance(value, kind)


def _name(kind: Any) -> str:
    if typing.get_origin(kind) is collections.abc.Callable:
        return "a function"
    return "a sequence" if typing.get_origin(kind) is collections.abc.Sequence else f"a {kind.__name__}"
