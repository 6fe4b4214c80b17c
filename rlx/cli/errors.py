"""Errors that a person can act on: one line, no traceback."""

from __future__ import annotations

from types import TracebackType

from rlx.recipes.settings import SettingError

OWN_PACKAGES = ("rlx", "experiments")


class CommandError(Exception):
    """What was asked cannot be done; the message is one line that says what would be right."""


def is_for_the_user(error: BaseException) -> bool:
    """Whether an error is a message to the user rather than a bug.

    Functions of this project raise errors whose message names the argument and what would be right; an error
    out of any other library is a surprise and keeps its traceback.
    """
    if isinstance(error, CommandError):
        return True
    return (
        isinstance(error, (ValueError, ImportError, RuntimeError)) and _raised_in(error.__traceback__) in OWN_PACKAGES
    )


def one_line(error: BaseException) -> str:
    """The message of an error without line breaks; of a field of a config, with its flag."""
    text = f"{flag(error.name)} {error.reason}" if isinstance(error, SettingError) else str(error)
    return " ".join(text.split())


def flag(name: str) -> str:
    """The flag of a field."""
    return f"--{name.strip('_').replace('_', '-')}"


def _raised_in(traceback: TracebackType | None) -> str:
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return "" if traceback is None else traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0]
