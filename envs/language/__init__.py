"""Tasks of tokens: prompts whose answers can be checked, as pure functions.

`make("addition", digits=4)` returns a `TokenTask`. Importing this package imports no JAX; `make` does.
"""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

from rlx.envs.registry import nearest

if TYPE_CHECKING:
    from rlx.envs.language.protocol import TokenTask

__all__ = ["make", "names", "options"]

TASKS = {
    "addition": "rlx.envs.language.arithmetic",
    "modular_arithmetic": "rlx.envs.language.arithmetic",
    "sorting": "rlx.envs.language.sequences",
    "brackets": "rlx.envs.language.sequences",
    "countdown": "rlx.envs.language.countdown",
    "path": "rlx.envs.language.path",
    "tool": "rlx.envs.language.tool",
}
"""Task -> module of the function that makes it."""


def names() -> list[str]:
    """Names of the tasks."""
    return list(TASKS)


def options(name: str) -> dict[str, Any]:
    """Options of a task that set its difficulty, with their defaults.

    Raises:
        ValueError: there is no such task.
    """
    return {key: parameter.default for key, parameter in inspect.signature(_maker(name)).parameters.items()}


def make(name: str, **difficulty: Any) -> TokenTask:
    """Makes the task called `name`.

    Args:
        name: one of `names()`.
        **difficulty: options of the task, see `options`.

    Raises:
        ValueError: there is no such task, it has no such option, or an option has an impossible value or one of another
            type.
    """
    from rlx.envs.language.option_types import check, declared

    maker = _maker(name)
    check(name, difficulty, declared(maker))
    return maker(**difficulty)


def check_name(name: str) -> None:
    """Check that there is a task of this name, without importing it.

    Raises:
        ValueError: there is none.
    """
    if name not in TASKS:
        raise ValueError(f"no task {name!r}; {nearest(name, TASKS)}")


def _maker(name: str):
    check_name(name)
    return getattr(importlib.import_module(TASKS[name]), name)
