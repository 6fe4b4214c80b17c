"""The run folder: where things are, its config, and what changed between a config and the one that is saved."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlx.training.metrics import atomic_path

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


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        RunError: it is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise RunError(f"{path.parent} is not a run folder: it has no {path.name}") from None
    except ValueError as error:
        raise RunError(f"{path} is not valid JSON ({error})") from None


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
        RunError: the folder holds a run that is not to be resumed, or one with another config.
    """
    if folder.path.exists() and not folder.path.is_dir():
        raise RunError(f"{folder.path} is a file: --run-dir must name a folder, or one that can be made")
    if not folder.config.exists():
        return []
    if not resume:
        raise RunError(f"{folder.path} already holds a run: add --resume to go on with it, or choose another --run-dir")
    changes = config_changes(read_json(folder.config)["config"], config)
    if changes and not allow_changes:
        raise RunError(
            f"{folder.path} was started with another config ({'; '.join(changes)}): repeat its command, choose another "
            "--run-dir, or add --allow-changes"
        )
    return changes
