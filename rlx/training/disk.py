"""Errors of storage as one line that names the file and says what is right, and names that are still free."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

REMEDIES = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room in your quota",
    errno.EROFS: "make the file system writable",
    errno.EACCES: "give this user permission to write there",
    errno.EPERM: "give this user permission to write there",
    errno.ENOTDIR: "name a folder, or one that can be made",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOENT: "name a folder that can be made",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "look after the disk",
    errno.EMFILE: "allow more open files (ulimit -n)",
}
"""What to do about what the system says of a file that cannot be written."""


class DiskError(RuntimeError):
    """A file cannot be written; the message is one line that says why, and what to do."""


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """Turn what storage raises in a block that writes `path` into a `DiskError`; other errors pass.

    Raises:
        DiskError: the disk is full, read-only, or refuses otherwise.
    """
    try:
        yield
    except Exception as error:
        number = _error_number(error)
        if number is None:
            raise
        reason, remedy = os.strerror(number), REMEDIES.get(number, "look after the disk")
        raise DiskError(f"{reason}: {path} cannot be written; {remedy}") from error


def free_name(path: Path, word: str) -> Path:
    """A name beside `path` that nothing has: `run.old`, `run.old2` …; a file keeps its suffix, as `a.old.csv`."""
    stem, suffix = (path.name, "") if path.is_dir() else (path.stem, path.suffix)
    names = (f"{stem}.{word}{number if number > 1 else ''}{suffix}" for number in range(1, 1_000_000))
    return next(path.with_name(name) for name in names if not os.path.lexists(path.with_name(name)))


def _error_number(error: BaseException | None) -> int | None:
    """What the system said, in an error or in one that led to it; libraries keep it as text alone."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        for number in REMEDIES:
            if os.strerror(number) in str(error):
                return number
        error = error.__cause__ or error.__context__
    return None
