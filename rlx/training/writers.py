"""Where metrics go besides the run folder's table: TensorBoard and Weights & Biases.

A writer is two functions. The loop turns a report's rows into tagged scalars once, and every writer gets the
same ones:

    writer = tensorboard(run_dir / "tensorboard")
    writer.write(env_steps, scalars(rows))
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlx.training.disk import writing
from rlx.training.metrics import TIME_COLUMNS, MetricsTable, curves, hyperparameter_names, setting_label
from rlx.training.statistics import interquartile_mean


class Writer(NamedTuple):
    """A destination of scalars.

    Attributes:
        write: `write(step, {tag: value})` records scalars at a step.
        close: `close()` flushes and lets go of the destination.
    """

    write: Callable[[int, Mapping[str, float]], None]
    close: Callable[[], None]


def scalars(rows: Mapping[str, Any], choices: Mapping[str, Sequence[str]] | None = None) -> dict[str, float]:
    """Tag one report's metrics by run, and add the interquartile mean over seeds.

    `return_mean` of seeds 0 to 7 becomes `return_mean/seed_0` … `return_mean/seed_7` and `return_mean/iqm`;
    in a sweep the setting comes before the seed, as in `return_mean/learning_rate_0.001/seed_0`. A metric
    that is a scalar (`sps`) keeps its bare name.

    Args:
        rows: one block of rows as given to `MetricsTable.append`: the columns of the fixed order `seed`,
            swept hyperparameters, `update`, `env_steps`, and the metrics `[runs]`.
        choices: for a hyperparameter whose values number a list of choices, the choices.

    Returns:
        Tag → value. Nulls are left out; NaNs are kept for the run they belong to, and do not count in the
        mean.
    """
    table = MetricsTable(rows, choices=choices)
    identity = {"seed", "update", *TIME_COLUMNS, *hyperparameter_names(rows)}
    metrics = {name: value for name, value in rows.items() if name not in identity and value is not None}
    tags = {name: float(value) for name, value in metrics.items() if np.ndim(value) == 0}
    for name in [name for name in metrics if name not in tags]:
        for curve in curves(table, name):
            # TensorBoard allows no other characters in a tag.
            setting = re.sub(r"[^-\w.]+", "_", setting_label(curve.hyperparameters, table.choices))
            prefix = f"{name}/{setting}" if setting else name
            for values in curve.values.T:
                tags |= {f"{prefix}/seed_{seed}": value for seed, value in zip(curve.seeds, values.tolist())}
                finite = np.ma.masked_invalid(values).compressed()
                tags[f"{prefix}/iqm"] = float(interquartile_mean(finite)) if finite.size else None
    return {tag: value for tag, value in tags.items() if value is not None}


def tensorboard(directory: str | os.PathLike, *, resume_step: int | None = None) -> Writer:
    """Write TensorBoard event files.

    Args:
        directory: where the event files go.
        resume_step: step from which a resumed run reports anew; TensorBoard then hides what an interrupted
            run wrote at this step and after it.

    Returns:
        The writer; it makes the folder and its file when it first writes, and raises `DiskError` where it cannot.
    """
    from tensorboardX import RecordWriter
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.summary_pb2 import Summary

    directory, records = Path(directory), []

    def add(**fields: Any) -> None:
        records[0].write(Event(wall_time=time.time(), **fields).SerializeToString())

    # The records are written here rather than by tensorboardX's own writer, whose thread would die of a full disk with
    # the loop waiting for it, and which remarks on every NaN.
    def write(step: int, values: Mapping[str, float]) -> None:
        with writing(directory):
            if not records:
                directory.mkdir(parents=True, exist_ok=True)
                records.append(RecordWriter(str(_free_event_file(directory))))
                add(step=resume_step, file_version="brain.Event:2")
                if resume_step is not None:
                    add(step=resume_step, session_log=SessionLog(status=SessionLog.START))
            for tag, value in values.items():
                add(step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))
            records[0].flush()

    def close() -> None:
        if records:
            with writing(directory):
                records[0].close()

    return Writer(write, close)


def _free_event_file(directory: Path) -> Path:
    """A name that TensorBoard knows event files by, later than those there are."""
    now = int(time.time())
    names = (directory / f"events.out.tfevents.{now:010d}.{number}.rlx" for number in itertools.count(os.getpid()))
    return next(name for name in names if not name.exists())


def wandb(
    project: str = "rlx", *, name: str | None = None, config: Mapping[str, Any] | None = None, **options: Any
) -> Writer:
    """Log to Weights & Biases, or to a local folder with `mode="offline"`.

    Args:
        project: name of the project.
        name: name of the run.
        config: hyperparameters shown with the run.
        **options: anything else that `wandb.init` takes, such as `dir`, `mode`, `id` and `resume`.

    Raises:
        ImportError: if wandb is not installed.
    """
    try:
        import wandb as backend
    except ImportError as error:
        raise ImportError("logging to Weights & Biases needs its package: pip install 'rlx[wandb]'") from error

    run = backend.init(project=project, name=name, config=dict(config or {}), **options)
    return Writer(lambda step, values: run.log(dict(values), step=step), run.finish)
