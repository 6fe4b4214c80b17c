"""What damages files, and how each damaged one is answered; shared by the kinds of files."""

import contextlib
import os
import shutil
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rlx.cli.errors import is_for_the_user, one_line

Make = Callable[[Path], Path]
"""From an empty folder to the path of a file or folder that was made there."""

CUTS = (0.0, 0.01, 0.2, 0.5, 0.8, 0.99)
"""Shares that are left of a file that is cut."""
REPLACED = ("missing", "a folder", "a pipe")
"""What is in the place of a file."""


class Hung(BaseException):
    """Reading a file came to no end."""


def cut(make: Make, file: str, share: float, folder: Path) -> Path:
    """Only the beginning of a file is left."""
    path = make(folder)
    os.truncate(folder / file, int(share * (folder / file).stat().st_size))
    return path


def replaced(make: Make, file: str, what: str, folder: Path) -> Path:
    """Something else is in the place of a file, or nothing."""
    path = make(folder)
    (folder / file).unlink()
    if what == "a folder":
        (folder / file).mkdir()
    elif what == "a pipe":
        os.mkfifo(folder / file)
    return path


def answers(
    cases: Iterable[tuple[str, Make]],
    read: Callable[[Path], object],
    scratch: Path,
    *,
    is_named: Callable[[Path, str], bool] = lambda path, line: True,
    seconds: int = 60,
) -> Iterator[tuple[str, str | None]]:
    """How each damaged file is answered: its name, and None where it is read or refused in one line, else the error.

    Args:
        cases: names, and what makes each.
        read: reads what was made.
        scratch: a folder to work in; it is left as it was.
        is_named: `(path, line)`: whether the line says enough of the file.
        seconds: after which reading counts as hanging.
    """
    folder = scratch / "damaged"

    def too_long(*_: object) -> None:
        raise Hung(f"it took more than {seconds} s")

    for name, make in cases:
        folder.mkdir()
        path, error = make(folder), None
        before = signal.signal(signal.SIGALRM, too_long)
        signal.alarm(seconds)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(path)
        except BaseException as caught:
            if isinstance(caught, KeyboardInterrupt):
                raise
            line = one_line(caught)
            if not is_for_the_user(caught) or not is_named(path, line):
                error = f"{type(caught).__name__}: {line:.200}"
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(folder)
        yield name, error
