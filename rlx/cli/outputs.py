"""What a command writes beside a run's own files: whether it can be, known before anything is computed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rlx.cli.errors import CommandError
from rlx.training.disk import writing


def check_out(out: str | os.PathLike, suffixes: Sequence[str] = ()) -> None:
    """Check that a file can be written; folders above it that are missing are made when it is.

    Args:
        out: the file.
        suffixes: those that it may have; any if empty.

    Raises:
        CommandError: it cannot; the message says why.
        DiskError: the system says that it cannot.
    """
    path = Path(out)
    if suffixes and path.suffix.lower() not in suffixes:
        raise CommandError(f"--out must end in {', '.join(suffixes[:-1])} or {suffixes[-1]}, got {str(out)!r}")
    with writing(out):
        if path.exists() and not path.is_file():
            raise CommandError(f"--out must be a file, got {str(out)!r}, which is something else")
        above = next(parent for parent in path.absolute().parents if parent.exists())
        if not above.is_dir():
            raise CommandError(f"{out} cannot be written: {above} is a file")
        # What permissions say is not all: file systems are mounted read-only, and some take no files.
        with tempfile.TemporaryFile(dir=above):
            pass
