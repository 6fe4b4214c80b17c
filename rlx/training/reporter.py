"""What a run says of itself while it goes on: rows of metrics, scalars for TensorBoard and others, progress."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlx.training.guard import UNTIL_AN_EPISODE_ENDS
from rlx.training.metrics import MetricsTable
from rlx.training.progress import Progress
from rlx.training.runs import RunFolder
from rlx.training.writers import Writer, scalars


class Reporter:
    """Rows of metrics, one for each run and report.

    Attributes:
        table: all rows.
        seconds: what training took, evaluations and checkpoints apart.
        steps: steps trained since the start or the resumption, of all runs together.
    """

    def __init__(
        self,
        identity: Mapping[str, np.ndarray],
        *,
        table: MetricsTable,
        folder: RunFolder | None,
        writers: Sequence[Writer],
        progress: Progress,
        steps_name: str,
        start_time: float,
    ):
        self.table, self._folder, self._writers, self._progress = table, folder, writers, progress
        self._identity, self._steps_name, self._start_time = identity, steps_name, start_time
        self._returns = np.full(len(identity["seed"]), np.nan)
        self.seconds, self.steps = 0.0, 0

    def report(
        self,
        update: int,
        steps: int,
        metrics: Mapping[str, np.ndarray],
        evaluation: Mapping[str, np.ndarray] | None,
        *,
        trained: int,
        seconds: float,
    ) -> Mapping[str, Any]:
        """Add the rows of a report to everything that shows them.

        Args:
            update: updates done.
            steps: steps done, of one run.
            metrics: of the updates since the last report, `[run, update]`; empty at the start of a run.
            evaluation: what an evaluation gave `[run]`, or None.
            trained: steps since the last report, of all runs together.
            seconds: what they took.

        Returns:
            The rows.
        """
        self.seconds, self.steps = self.seconds + seconds, self.steps + trained
        rows = dict(self._identity) | {"update": update, self._steps_name: steps}
        # A swept hyperparameter keeps its column: it names the setting, whatever a schedule makes of it.
        rows |= {name: value for name, value in _latest(metrics).items() if name not in self._identity}
        speed = trained / seconds if trained else None
        rows |= {"sps": speed} | dict(evaluation or {})
        rows |= {"wall_time": time.perf_counter() - self._start_time}
        newest = rows.get("return_mean", self._returns)
        self._returns = evaluation.get("eval_return_mean", newest) if evaluation else newest
        if trained:
            self._progress.update(steps, speed, self._returns)
        self.table.append(rows)
        if self._folder is not None:
            self.table.write(self._folder.metrics)
            for writer in self._writers:
                writer.write(steps, scalars(rows, self.table.choices))
        return rows


def _latest(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """One row per run: running statistics as they stand, everything else averaged over the updates of the report."""
    rows = {}
    for name, values in metrics.items():
        if name in UNTIL_AN_EPISODE_ENDS:
            rows[name] = np.ma.masked_array(values[:, -1], mask=metrics["episodes"][:, -1] == 0)
        elif name in ("episodes", "online_steps", "learning_rate"):
            rows[name] = values[:, -1]
        else:
            rows[name] = values.mean(axis=1)
    return rows
