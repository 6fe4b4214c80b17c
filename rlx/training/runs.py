"""The run folder: where things are, its config, and what changed between a config and the one that is saved."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlx.training.disk import free_name
from rlx.training.metrics import MetricsTable, atomic_path, remove_unfinished

MAX_BYTES = 2**32
"""More than this is no table of metrics, nor a file that a page could show: a small file may claim to unpack to it."""

FORMAT = 2
"""Kind of the run folders that this release writes and reads, as `config.json` notes it."""


class RunError(ValueError):
    """A run folder is missing, occupied, or of another config; the message is one line that says what to do."""


class RunFolder:
    """Paths of a run folder."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.metrics = self.path / "metrics.parquet"
        self.summary = self.path / "summary.json"
        self.divergence = self.path / "divergence.json"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.curve = self.path / "curve.png"
        self.rollout = self.path / "rollout.gif"
        self.report = self.path / "report.html"

    def check(self) -> None:
        """Raise where the folder cannot be written, or something else has the name of one of its parts.

        Raises:
            RunError: says what is in the way.
        """
        check_place(self.path)
        for part in (self.checkpoints, self.tensorboard):
            if part.exists() and not part.is_dir():
                raise RunError(f"{part} is a file, but must be a folder: move it away")
        for part in (self.config, self.metrics, self.summary, self.divergence, self.curve, self.rollout, self.report):
            if part.is_dir():
                raise RunError(f"{part} is a folder, but must be a file: move it away")

    def remove_unfinished(self) -> None:
        """Remove half-written files that a process which was killed left behind."""
        for part in (self.config, self.metrics, self.summary, self.divergence, self.curve, self.rollout, self.report):
            remove_unfinished(part)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file.

    Raises:
        RunError: it is missing, no file, cannot be read, or is not JSON.
    """
    with naming(path, "JSON") as path:
        value = json.loads(contents(path))
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair could be written nowhere
        return value


def contents(path: Path) -> bytes:
    """The bytes of a file of a run folder; raises `RunError` where there is no file, or one that no run wrote."""
    if not path.is_file():  # neither a folder nor a pipe, which nobody may ever write to
        raise RunError(f"{path} must be a file" if path.exists() else f"there is no file {path}")
    if path.stat().st_size > MAX_BYTES:
        raise RunError(f"{path} has {path.stat().st_size:,} bytes, more than a run writes")
    return path.read_bytes()


@contextlib.contextmanager
def naming(path: str | os.PathLike, kind: str) -> Iterator[Path]:
    """Turn whatever a library meets in a file into a message that names it."""
    try:
        yield Path(path)
    except RunError:
        raise
    except Exception as error:  # each library has its own errors, and more than it documents
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RunError(reason if str(path) in reason else f"{path} is not readable as {kind} ({reason})") from error


def read_summary(folder: RunFolder) -> dict[str, Any] | None:
    """What `summary.json` says; None where it is missing or damaged: it can be made again."""
    try:
        summary = read_json(folder.summary)
    except RunError:
        return None
    known = {"final_return", "settings", "steps_per_second", "wall_time", "compile_time", "runs"}
    return summary if isinstance(summary, dict) and known <= set(summary) else None


def starts(folder: RunFolder) -> list[dict[str, Any]]:
    """What `config.json` says of each start of a run: with which devices, precision and releases it went on.

    Each has `update`, `numerics` (as of `rlx.training.provenance.numerics`) and what else a record of software holds.
    """
    saved = read_json(folder.config).get("starts", []) if folder.config.exists() else []
    known = isinstance(saved, list) and all(isinstance(start, dict) for start in saved)
    if not known or not all(isinstance(start.get("numerics"), dict) for start in saved):
        raise RunError(f"{folder.config} does not say as a run does how it was started: --restart begins anew")
    return saved


def check_place(path: Path) -> None:
    """Raise where no folder can be made or written.

    Raises:
        RunError: a file is in the way, or the place is read-only, or this user may not write there.
    """
    if "\0" in str(path):
        raise RunError(f"--run-dir {str(path)[:100]!r} cannot be a folder: its name has a null byte")
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.stat(path)
        place = next(parent for parent in (path, *path.absolute().parents) if os.path.lexists(parent))
        is_folder = place.is_dir()
    except OSError as error:  # too long a name, a link to itself
        raise RunError(f"--run-dir {str(path)[:100]!r} cannot be a folder: {error.strerror}") from None
    if not is_folder:
        below = "" if place == path else f", so {path} cannot be made"
        raise RunError(f"{place} is a file{below}: --run-dir must name a folder, or one that can be made")
    if not os.access(place, os.W_OK | os.X_OK):
        raise RunError(f"{place} cannot be written: it is read-only for this user; choose another --run-dir")


def move_aside(folder: RunFolder) -> Path:
    """Move a run folder to a free name beside it; returns that."""
    aside = free_name(folder.path, "old")
    folder.path.rename(aside)
    return aside


def rows_until(folder: RunFolder, update: int) -> MetricsTable:
    """The metrics of a run up to an update, to go on from.

    Raises:
        ValueError: the file is missing or damaged.
    """
    table = MetricsTable.read(folder.metrics)
    missing = [name for name in ("seed", "update", "wall_time") if name not in table]
    if missing:
        raise ValueError(f"{folder.metrics} has no column {missing[0]}")
    table.truncate(update)
    return table


def config_changes(saved: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """What differs between two configs, one line each: `learning_rate: 0.0003 -> 0.001`."""
    # A saved config has been through JSON, which has no tuples.
    current = json.loads(json.dumps(current))
    lines = []
    for name in [*saved, *(name for name in current if name not in saved)]:
        before, now = saved.get(name, "(absent)"), current.get(name, "(absent)")
        if before != now:
            lines.append(f"{name}: {before} -> {now}")
    return lines


def check_folder(
    folder: RunFolder, config: Mapping[str, Any], *, resume: bool = False, allow_changes: bool = False
) -> list[str]:
    """Whether a run of `config` may write into a folder; returns what differs from the config that is saved there.

    Raises:
        RunError: the folder cannot be written, or holds a run that is not to be resumed, or one with another config.
    """
    folder.check()
    if not folder.config.exists():
        parts = [part.name for part in (folder.metrics, folder.summary) if part.exists()]
        if any(folder.checkpoints.glob("[0-9]*")):
            parts.append("checkpoints")
        if parts:
            raise RunError(
                f"{folder.path} has no config.json, but the {' and '.join(parts)} of a run: --restart moves it aside "
                "and begins anew, or choose another --run-dir"
            )
        return []
    if not resume:
        raise RunError(
            f"{folder.path} already holds a run: add --resume to go on with it, --restart to move it aside and begin "
            "anew, or choose another --run-dir"
        )
    saved = read_json(folder.config)
    if not isinstance(saved, dict) or not isinstance(saved.get("config"), dict):
        raise RunError(f"{folder.config} is not the config of a run: --restart moves the run aside and begins anew")
    changes = config_changes(saved["config"], config)
    if changes and not allow_changes:
        raise RunError(
            f"{folder.path} was started with another config ({'; '.join(changes)}): repeat its command, choose another "
            "--run-dir, or add --allow-changes"
        )
    return changes
