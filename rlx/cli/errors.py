"""Errors that a person can act on: one line, no traceback."""

from __future__ import annotations

import errno
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from rlx.recipes.settings import SettingError

OWN_PACKAGES = ("rlx", "experiments")

OF_THE_MACHINE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EIO),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EMFILE, errno.ENFILE),
}
"""What the system says of disks, permissions and names."""


class CommandError(Exception):
    """What was asked cannot be done; the message is one line that says what would be right."""


def is_for_the_user(error: BaseException) -> bool:
    """Whether an error is a message to the user rather than a bug.

    Functions of this project raise errors whose message names the argument and what would be right; an error
    out of any other library is a surprise, but for what the system says of a file that it names.
    """
    if isinstance(error, CommandError):
        return True
    if isinstance(error, OSError) and error.errno in OF_THE_MACHINE:
        return True
    return (
        isinstance(error, (ValueError, ImportError, RuntimeError)) and _raised_in(error.__traceback__) in OWN_PACKAGES
    )


def one_line(error: BaseException) -> str:
    """The message of an error without line breaks; of a field of a config, with its flag."""
    if isinstance(error, SettingError):
        text = f"{flag(error.name)} {error.reason}"
    elif isinstance(error, OSError) and error.strerror:
        text = error.strerror + (f": {error.filename}" if error.filename is not None else "")
    else:
        text = str(error)
    return " ".join(text.split())


@contextmanager
def traceback_in(folder: Path) -> Iterator[None]:
    """An unforeseen error in this block leaves its traceback in a folder, if the folder outlives the error."""
    try:
        yield
    except Exception as error:
        error.rlx_folder = folder
        raise


def unforeseen(error: BaseException) -> str:
    """One line on an error that nobody foresaw, whose traceback is written to a file."""
    text = "".join(traceback.format_exception(error))
    folder = getattr(error, "rlx_folder", None)
    for place in (folder, Path(tempfile.gettempdir())):
        if place is None or not place.is_dir():
            continue
        try:
            with tempfile.NamedTemporaryFile(
                "w", dir=place, prefix="traceback-", suffix=".txt", delete=False, encoding="utf-8"
            ) as file:
                file.write(text)
        except OSError:
            continue
        where = f"the traceback is in {file.name}: please report it with that file and the command"
        break
    else:
        where = "its traceback could not be written: please report it with the command"
    return f"unforeseen {type(error).__name__}: {one_line(error)[:300] or 'without a message'}; {where}"


def flag(name: str) -> str:
    """The flag of a field."""
    return f"--{name.strip('_').replace('_', '-')}"


def _raised_in(traceback: TracebackType | None) -> str:
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return "" if traceback is None else traceback.tb_frame.f_globals.get("__name__", "").partition(".")[0]
