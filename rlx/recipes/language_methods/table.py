"""What an entry in a table of methods is, and how one is looked up."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rlx.envs.language.option_types import check, declared
from rlx.envs.registry import nearest
from rlx.recipes.settings import COUNT, FRACTION, NOT_NEGATIVE, POSITIVE, SHARE, contains

WITHIN = {
    **dict.fromkeys(("clip", "clip_low", "clip_high", "value_clip", "bound"), NOT_NEGATIVE),
    **dict.fromkeys(("beta", "coefficient", "penalty", "budget", "shaping", "bonus"), NOT_NEGATIVE),
    **dict.fromkeys(("value_coefficient", "entropy_coefficient", "demonstration_coefficient"), NOT_NEGATIVE),
    **dict.fromkeys(("negative_coefficient", "max_coefficient", "first_multiplier", "sft_weight"), NOT_NEGATIVE),
    **dict.fromkeys(("desirable_weight", "undesirable_weight"), NOT_NEGATIVE),
    **dict.fromkeys(("fraction", "quantile", "lambda_"), FRACTION),
    **dict.fromkeys(("temperature", "eps", "length"), POSITIVE),
    **dict.fromkeys(("num_turns", "num_steps", "total_updates"), COUNT),
    **dict.fromkeys(("freeze", "minimum"), NOT_NEGATIVE),
    **dict.fromkeys(("critic_rate", "reward_model_rate"), POSITIVE),
    "max_rounds": COUNT,
    "credit_threshold": "[0, 1)",
    "soft_room": SHARE,
    "top_p": SHARE,
    "flip_rate": "[0, 0.5)",
}
"""Interval of a hyperparameter, which is the same in all methods that have it."""


ORIGINS = {"paper": "the paper's", "code": "the reference code's", "ours": "ours"}
"""Whose choice a default can be, and what it is called."""


def chosen(*, paper: str = "", code: str = "", ours: str = "") -> dict[str, str]:
    """Whose choice each default is, from the names of the hyperparameters.

    Args:
        paper: those whose defaults the paper gives.
        code: those that are the reference code's, or of its published runs, where the paper says nothing else.
        ours: those that are chosen here, since neither says.
    """
    given = {"paper": paper, "code": code, "ours": ours}
    return {name: origin for origin, names in given.items() for name in names.split()}


class Entry(NamedTuple):
    """A method of the table.

    Attributes:
        make: from its hyperparameters, keywords with defaults, to a `Method`. Its docstring says what the method does,
            and where that is not what the paper does.
        slots: what it changes, in words.
        paper: authors, year and arXiv identifier.
        origin: hyperparameter → whose choice its default is, one of `ORIGINS`.
        code: where the reference code is, OWNER/NAME on GitHub; empty where nothing is taken from any.
    """

    make: Callable[..., Any]
    slots: str
    paper: str
    origin: Mapping[str, str] = {}
    code: str = ""

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Name → default."""
        return {name: parameter.default for name, parameter in inspect.signature(self.make).parameters.items()}


def check_method(methods: Mapping[str, Entry], name: str, options: Mapping[str, Any]) -> None:
    """Check the name of a method and its hyperparameters, without JAX.

    Args:
        methods: the table.
        name: of a method.
        options: hyperparameters that are given. Arrays, which may be traced, are passed over.

    Raises:
        ValueError: there is no such method, it has no such hyperparameter, or one has a value of another type or out of
            its range.
    """
    if name not in methods:
        raise ValueError(f"no method {name!r}; {nearest(name, methods)}")
    known = methods[name].hyperparameters
    for option in options:
        if option not in known:
            raise ValueError(f"{name} has no hyperparameter {option!r}; it has {', '.join(known) or 'none'}")
    check(name, options, declared(methods[name].make))
    for option, value in options.items():
        if isinstance(value, numbers.Real) and not contains(WITHIN.get(option), value):
            raise ValueError(f"{name}: {option} must be in {WITHIN[option]}, got {value!r}")


def make(methods: Mapping[str, Entry], name: str, options: Mapping[str, Any]) -> Any:
    """A method of a table, with some of its hyperparameters changed.

    Raises:
        ValueError: as `check_method`.
    """
    check_method(methods, name, options)
    return methods[name].make(**options)
