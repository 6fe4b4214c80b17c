"""What the `rlx ablate` commands share: one run folder after the other, and what the seeds in them reached."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from rlx.cli.errors import CommandError
from rlx.cli.train import train
from rlx.training import runs
from rlx.training.metrics import MetricsTable


def labels_of(words: str, flag: str) -> tuple[str, ...]:
    """Different labels, by commas.

    Raises:
        CommandError: there is none, or one comes twice.
    """
    labels = tuple(word.strip() for word in words.split(",") if word.strip())
    if not labels or len(set(labels)) < len(labels):
        raise CommandError(f"{flag} must name different {flag.strip('-')} by commas, got {words!r}")
    return labels


def train_all(jobs: Mapping[str, tuple], parent: Path) -> int:
    """Train by label with the arguments of :func:`rlx.cli.train.train`, until a signal stops it.

    One that diverged leaves the others alone.

    Returns:
        0, or the status of the run that was stopped.
    """
    for label, job in jobs.items():
        code = train(*job)
        if code > 1:
            print(f"stopped in {label}; go on with the same command and --resume --run-dir {parent}")
            return code
    return 0


def by_seed(folder: runs.RunFolder, table: MetricsTable, column: str) -> Float[np.ndarray, "seed time"]:
    """A column of a run's table of metrics where it was measured; a seed that diverged has NaN."""
    values = table[column].astype(float)
    measured = ~np.ma.getmaskarray(values)
    rows = np.array([np.asarray(values[measured & (table["seed"] == s)]) for s in np.unique(table["seed"])])
    diverged = runs.read_json(folder.divergence) if folder.divergence.exists() else ()
    rows[[int(run) for run in diverged]] = np.nan
    return rows


def plain(values: Float[np.ndarray, " seed"]) -> list[float | None]:
    """Values as JSON holds them."""
    return [float(value) if np.isfinite(value) else None for value in values]


def speed(folder: runs.RunFolder) -> float | None:
    """Steps per second of a run that came to its end."""
    return runs.read_json(folder.summary)["steps_per_second"] if folder.summary.exists() else None
