"""Names of environments and how to make one. Tables only: no simulator is imported before `make` needs it."""

import difflib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
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
_SPEC = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_TRUSTED: set[str] = set()
"""Code of the user's own that may be imported. A name is imported only after `trust` was given it, by whoever runs the
program: a command trusts what its own command line names. What a file names is never enough."""
_MANY = 40
"""More choices than these are no help in a message of one line."""


class UnknownEnvironment(ValueError):
    """No environment has this name; the message is one line, with the nearest names where some are near."""


class NoSuchModule(ValueError):
    """There is no module of this name, neither installed nor in the current folder."""


class UntrustedCode(ValueError):
    """A file names code, and whoever runs the program does not; the message says how to."""


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

    A name is looked up in tables. A function of the user's own, `"module:function"`, is imported only where `trust`
    was given it, so that a name out of a saved configuration runs no foreign code.

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
    if is_trusted(name):
        return from_spec(name, max_episode_steps=max_episode_steps, action_repeat=action_repeat, **options)
    suite, task = _split(name)
    try:
        module = importlib.import_module(_LOADERS[suite])
    except ImportError as error:
        if suite not in _INSTALL:
            raise
        raise ImportError(f"{name} needs `{_INSTALL[suite]}` ({error})") from error

    return _in_episodes(module.load(task, **options), max_episode_steps, action_repeat)


def from_spec(
    text: str, *, max_episode_steps: int | None = _SUITE_DEFAULT, action_repeat: int = 1, **options: Any
) -> Environment:
    """Makes an environment from what a user wrote on a command line: a name, or a function of the user's own.

    `"module:function"` imports the module, which may lie in the current folder, and calls the function without
    arguments. This runs the module's code: only for text from whoever runs the program, never for text out of a
    file. A text that begins with one of `suites()` and a colon is a name, never a module.

    Args:
        text: `"module:function"` or a name that `make` takes. The function returns an `envs.episodes.Task`, which
            becomes an environment as the tasks of `make` do, or an `Environment`.
        max_episode_steps: As for `make`. An `Environment` has its own, which cannot be changed.
        action_repeat: As for `make`. An `Environment` has its own, which cannot be changed.
        **options: As for `make`; a function takes none.

    Raises:
        UnknownEnvironment: If there is no such module or function, or it returns anything else.
        ValueError: If an option is given to what takes none, or has an impossible value.
    """
    if not is_spec(text):
        return make(text, max_episode_steps=max_episode_steps, action_repeat=action_repeat, **options)
    check_options(text, options, ())
    made = _function(text)()

    from rlx.envs.episodes import Task

    if isinstance(made, Task):
        return _in_episodes(made, max_episode_steps, action_repeat)
    missing = [part for part in (*Environment.__annotations__, "reset", "step", "render") if not hasattr(made, part)]
    if missing or isinstance(made, type):
        raise UnknownEnvironment(
            f"{text} returned {made!r:.60}, which is no Task and no Environment"
            + (f" (an Environment has also {', '.join(missing)})" if missing else "")
        )
    if max_episode_steps is not _SUITE_DEFAULT or action_repeat != 1:
        raise ValueError(
            f"{text} returned an Environment, whose episodes are its own: "
            "max_episode_steps and action_repeat are for a function that returns a Task"
        )
    return made


def is_spec(text: str) -> bool:
    """Tells whether `text` reads `"module:function"` with a module that is not the name of a suite."""
    return _SPEC.fullmatch(text) is not None and text.partition(":")[0] not in TASKS


def specs(text: str) -> list[str]:
    """Lists the functions that `text` names: itself, or a value as in `"tasks.jsonl@reward=module:function"`."""
    values = (option.partition("=")[2].strip("'\" ") for option in text.split("@")[1:])
    return [part for part in (text, *values) if is_spec(part)]


def trust(*texts: str) -> None:
    """Lets the functions of the user's own that texts name be imported, in this process.

    Whoever calls it says that the texts come from the person who runs the program, not out of a file.

    Args:
        *texts: `"module:function"`, or options that name one; a text that names none changes nothing.
    """
    for text in texts:
        _TRUSTED.update(specs(text))


def is_trusted(text: str) -> bool:
    """Tells whether the function of the user's own that `text` names may be imported."""
    return text in _TRUSTED


def check_trusted(text: str, flags: str) -> None:
    """Checks that a function may be imported, before it is.

    Args:
        text: What names it.
        flags: The words of a command line that would name it, for the message.

    Raises:
        UntrustedCode: `text` was not given to `trust`, or is not of the form `"module:function"`.
    """
    if not is_spec(text):
        raise UntrustedCode(f"code of your own is named as module:function, got {text[:80]!r}")
    if not is_trusted(text):
        raise UntrustedCode(
            f"{text} is code of your own, which runs only where the command line names it: add {flags}, or "
            f"--trust-config (in Python trust_config=True, or rlx.envs.trust({text!r}) before)"
        )


def own_module(name: str, what: str) -> ModuleType:
    """Imports a module of the user's own, which is installed or lies in the current folder.

    Args:
        name: The module's name.
        what: What it is imported for, for the message.

    Raises:
        NoSuchModule: There is none. What goes wrong inside the module keeps its own traceback.
    """
    # An installed command does not look into the current folder by itself. At the end, it hides no other module.
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise NoSuchModule(f"no module {error.name!r} for {what}, neither installed nor in {os.getcwd()}") from None


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
    word = word.lower()[:100]
    close = [by_lower[match] for match in difflib.get_close_matches(word, by_lower, n=3, cutoff=0.5)]
    if close:
        return f"did you mean {' or '.join(close)}?"
    if len(choices) > _MANY:
        found = difflib.get_close_matches(word, by_lower, n=1, cutoff=0.0)
        return f"the nearest of {len(choices)} is {by_lower[found[0]]}"
    return f"choose from {', '.join(choices)}" if choices else "it takes none"


def _in_episodes(task: Any, max_episode_steps: Any, action_repeat: int) -> Environment:
    from rlx.envs.episodes import EpisodicEnvironment

    limit = task.max_episode_steps if max_episode_steps is _SUITE_DEFAULT else max_episode_steps
    return EpisodicEnvironment(task, limit, action_repeat)


def _function(spec: str) -> Callable[[], Any]:
    """Imports what `"module:function"` names."""
    name, _, attribute = spec.partition(":")
    try:
        module = own_module(name, repr(spec))
    except NoSuchModule as error:
        raise UnknownEnvironment(f"{error}, and no suite {name!r}; {nearest_name(spec)}") from None
    function = getattr(module, attribute, None)
    if function is None:
        own = [key for key, value in vars(module).items() if inspect.isfunction(value) and value.__module__ == name]
        hint = f"; {nearest(attribute, own)}" if own else ""
        raise UnknownEnvironment(f"module {name!r} has no function {attribute!r}{hint}")
    if not callable(function):
        raise UnknownEnvironment(
            f"{spec} is of type {type(function).__name__}; it must be a function that returns a Task or an Environment"
        )
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise UnknownEnvironment(f"{spec} is called without arguments: {error}") from None
    return function


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
        own = (
            f" (a function of your own goes on a command line: --env {name}; or --trust-config, where a saved config "
            "names it)"
            if name and is_spec(name)
            else ""
        )
        raise UnknownEnvironment(f"no suite {suite!r}{in_name}; {nearest(suite, _LOADERS)}{own}")
