"""A guard against NaN: a run that diverged is named once, and lost alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rlx.training.runs import RunError, RunFolder, read_json, write_json

UNTIL_AN_EPISODE_ENDS = ("return_mean", "episode_length")
"""Metrics that are NaN until the first episode has finished: there is none yet."""


class Guard:
    """What has diverged so far.

    Attributes:
        diverged: run -> metric, value and update of its first NaN or infinity.
    """

    def __init__(self, seeds: ArrayLike, folder: RunFolder | None, *, is_first_process: bool = True):
        self._seeds, self._folder, self._is_first = np.asarray(seeds), folder, is_first_process
        self.diverged: dict[int, dict[str, Any]] = {}

    def recall(self, update: int) -> None:
        """What a resumed run had noticed up to an update."""
        if self._folder is None or not self._folder.divergence.exists():
            return
        try:
            earlier = {int(run): dict(found) for run, found in read_json(self._folder.divergence).items()}
            kept = {run: found for run, found in earlier.items() if found["update"] <= update}
            self.diverged = {
                run: {name: found[name] for name in ("metric", "value", "update")} for run, found in kept.items()
            }
        except (RunError, AttributeError, KeyError, TypeError, ValueError):
            # What still diverges is noticed again at the next report.
            warnings.warn(f"{self._folder.divergence} is damaged and is passed over", RuntimeWarning, stacklevel=3)

    def check(self, metrics: Mapping[str, np.ndarray], update: int) -> None:
        """Notice what diverged in metrics `[run, update]` that follow an update, and warn of it."""
        found = {run: what for run, what in first_nonfinite(metrics).items() if run not in self.diverged}
        for run, what in found.items():
            self.diverged[run] = what | {"update": update + what["update"]}
            if self._is_first:
                others = len(self._seeds) - len(self.diverged)
                message = f"{self._describe(run)}; this run is lost, the other {others} go on unharmed"
                warnings.warn(message, RuntimeWarning, stacklevel=3)
        if found and self._is_first and self._folder is not None:
            write_json(self._folder.divergence, {str(run): what for run, what in self.diverged.items()})

    def lost(self) -> FloatingPointError | None:
        """An error where every run has diverged, else None."""
        if len(self.diverged) < len(self._seeds):
            return None
        return FloatingPointError(f"every run has diverged: {', '.join(map(self._describe, self.diverged))}")

    def _describe(self, run: int) -> str:
        found = self.diverged[run]
        return (
            f"seed {self._seeds[run]} (run {run}): {found['metric']} became {found['value']} at update "
            f"{found['update']}"
        )


def first_nonfinite(metrics: Mapping[str, np.ndarray]) -> dict[int, dict[str, Any]]:
    """The first NaN or infinity of each run in metrics `[run, update]`: run -> metric, value and update (from 1).

    Returns of episodes are exempt until the first episode has finished: there is none yet.
    """
    unfinished = np.asarray(metrics.get("episodes", 1)) == 0
    found: dict[int, dict[str, Any]] = {}
    for name, values in metrics.items():
        bad = ~np.isfinite(values)
        if name in UNTIL_AN_EPISODE_ENDS:
            bad &= ~unfinished
        for run in np.flatnonzero(bad.any(axis=1)):
            first = int(np.argmax(bad[run])) + 1
            if run not in found or first < found[run]["update"]:
                value = "NaN" if np.isnan(values[run, first - 1]) else "infinite"
                found[int(run)] = {"metric": name, "value": value, "update": first}
    return found
