"""Names of environments and how to make one. Tables only: no simulator is imported before `make` needs it."""

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from rlx.envs.names import TASKS
from rlx.envs.protocol import Environment

_LOADERS = {
    "brax": "rlx.envs.adapters.brax",
    "playground": "rlx.envs.adapters.playground",
    "gymnax": "rlx.envs.adapters.gymnax",
    "gym": "rlx.envs.adapters.gymnasium",
    "rlx": "rlx.envs.tasks",
}
_INSTALL = {
    "brax": "pip install brax",
    "playground": "pip install playground",
    "gymnax": "pip install gymnax",
    "gym": 'pip install "gymnasium[mujoco]"',
}
_SUITE_DEFAULT = object()


class UnknownEnvironment(ValueError):
    """No environment has this name; the message holds the nearest names that exist."""


def suites() -> list[str]:
    """Returns the names of the suites, the part of an environment's name before the colon."""
    return list(_LOADERS)


def names(suite: str | None = None) -> list[str]:
    """Lists the environments that `make` knows, as `"suite:task"`.

    Args:
        suite: Only this suite's; all suites' if None.

    Raises:
        UnknownEnvironment: If there is no such suite.
    """
    if suite is not None:
        _check_suite(suite)
    return [f"{each}:{task}" for each in _LOADERS if suite in (None, each) for task in TASKS[each]]


def make(
    name: str, *, max_episode_steps: int | None = _SUITE_DEFAULT, action_repeat: int = 1, **options: Any
) -> Environment:
    """Makes the environment called `name`.

    Args:
        name: `"suite:task"`, one of `names()`. The suite `gym` also takes any other id registered with
            Gymnasium.
        max_episode_steps: Time limit in agent decisions; None for no limit. By default the task's own.
        action_repeat: How many task steps one decision lasts.
        **options: Options of the suite and task, such as `backend="mjx"` for Brax.

    Raises:
        UnknownEnvironment: If the suite or the task does not exist.
        ValueError: If an option does not exist or has an impossible value.
        ImportError: If the suite's simulator is not installed; the message says how to install it.
    """
    suite, task = _split(name)
    try:
        module = importlib.import_module(_LOADERS[suite])
    except ImportError as error:
        if suite not in _INSTALL:
            raise
        raise ImportError(f"{name} needs `{_INSTALL[suite]}` ({error})") from error

    from rlx.envs.episodes import EpisodicEnvironment

    bare = module.load(task, **options)
    limit = bare.max_episode_steps if max_episode_steps is _SUITE_DEFAULT else max_episode_steps
    return EpisodicEnvironment(bare, limit, action_repeat)


def check_options(name: str, options: Iterable[str], allowed: Iterable[str] | Callable) -> None:
    """Raises a ValueError that names the nearest right options unless all `options` are `allowed`.

    Args:
        name: The environment's name, for the message.
        options: Names of the options given.
        allowed: Names of the options that exist, or a function whose keyword arguments they are.
    """
    if callable(allowed):
        allowed = [p.name for p in inspect.signature(allowed).parameters.values() if p.kind is not p.VAR_KEYWORD]
    allowed = sorted(allowed)
    for option in options:
        if option not in allowed:
            raise ValueError(f"{name} has no option {option!r}; {nearest(option, allowed)}")


def check_choice(argument: str, value: Any, choices: Iterable[str]) -> None:
    """Raises a ValueError that names the nearest right value unless `value` is one of `choices`."""
    choices = list(choices)
    if value not in choices:
        raise ValueError(f"{argument} must be one of {', '.join(choices)}; got {value!r}")


def nearest(word: str, choices: Iterable[str]) -> str:
    """Returns the clause of an error message that says which of `choices` was meant by `word`."""
    choices = list(choices)
    by_lower = {choice.lower(): choice for choice in choices}
    close = [by_lower[match] for match in difflib.get_close_matches(word.lower(), by_lower, n=3, cutoff=0.5)]
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"choose from {', '.join(choices)}" if choices else "it takes none"


def _split(name: str) -> tuple[str, str]:
    suite, colon, task = name.partition(":")
    if not colon:
        raise UnknownEnvironment(f"{name!r} is not of the form suite:task; {nearest_name(name)}")
    _check_suite(suite, name)
    # Gymnasium's registry is open: other packages add ids to it, and its adapter checks them there.
    if task not in TASKS[suite] and suite != "gym":
        raise UnknownEnvironment(f"no environment {name!r}; {nearest_name(name, suite)}")
    return suite, task


def nearest_name(name: str, suite: str | None = None) -> str:
    """Returns the clause of an error message that suggests environments named like `name`."""
    _, _, task = name.rpartition(":")
    within = [each for each in _LOADERS if suite in (None, each)]
    owner = {known: f"{each}:{known}" for each in within for known in TASKS[each]}
    by_lower = {known.lower(): full for known, full in owner.items()}
    close = [by_lower[match] for match in difflib.get_close_matches(task.lower(), by_lower, n=3, cutoff=0.5)]
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"choose from {', '.join(owner.values())}" if suite else f"suites are {', '.join(_LOADERS)}"


def _check_suite(suite: str, name: str | None = None) -> None:
    if suite not in _LOADERS:
        in_name = f" in {name!r}" if name else ""
        raise UnknownEnvironment(f"no suite {suite!r}{in_name}; {nearest(suite, _LOADERS)}")
