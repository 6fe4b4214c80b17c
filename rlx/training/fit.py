"""The host loop around a compiled program: it reports, evaluates, saves and stops cleanly."""

from __future__ import annotations

import contextlib
import signal
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from jaxtyping import PyTree

from rlx.training import checkpoints, runs
from rlx.training.compiled import Build, CompiledRuns, compile_runs
from rlx.training.guard import Guard
from rlx.training.metrics import MetricsTable
from rlx.training.program import REPLAY
from rlx.training.progress import Progress, bytes_in_words
from rlx.training.provenance import provenance
from rlx.training.reporter import Reporter
from rlx.training.sharding import fetch, make_mesh
from rlx.training.stopping import stop_requests
from rlx.training.summary import summarize
from rlx.training.writers import Writer, tensorboard

LARGE_CHECKPOINT = 1 << 30
"""Bytes from which on the size of a checkpoint is said."""


class Fitted(NamedTuple):
    """What `fit` returns.

    Attributes:
        state: final training state, leading axis `[run]`.
        metrics: the rows that were reported.
        summary: what `summary.json` holds; None when the run was stopped before its end.
        stopped_by: the signal that stopped it, or None.
        resumed_from: the update whose checkpoint it went on from; 0 for a start from the beginning.
    """

    state: PyTree
    metrics: MetricsTable
    summary: dict[str, Any] | None
    stopped_by: signal.Signals | None
    resumed_from: int


def fit(
    build: Build | Callable,
    *,
    seeds: Sequence[int],
    hyperparameters: Mapping[str, Sequence[float]],
    swept: Sequence[str] = (),
    choices: Mapping[str, Sequence[str]] | None = None,
    num_envs: int,
    steps_per_update: int,
    initial_steps: int = 0,
    steps_name: str = "env_steps",
    num_updates: int,
    updates_per_report: int,
    reports_per_evaluation: int = 1,
    reports_per_checkpoint: int = 1,
    keep_checkpoints: int = 2,
    replay_in_checkpoints: bool = True,
    run_dir: str | Path | None = None,
    config: Mapping[str, Any] | None = None,
    resume: bool = False,
    allow_changes: bool = False,
    mesh: Mesh | None = None,
    make_writers: Callable[[int | None], Sequence[Writer]] = lambda resume_step: (),
    quiet: bool = False,
) -> Fitted:
    """Train a batch of runs and leave a run folder.

    Every process of a distributed job calls it alike; only the first writes metrics, summary and progress.

    Args:
        build: from values of hyperparameters to a `Program`.
        seeds: one seed for each run.
        hyperparameters: name -> one value for each run.
        swept: names among them that differ between runs on purpose; they become columns of the metrics.
        choices: for a swept name whose values number a list of choices, the choices, for labels.
        num_envs: environments of each run; 0 for runs that step none.
        steps_per_update: environment steps of one update of one run; without an environment, what `steps_name` says.
        initial_steps: such steps that a run takes before its first update.
        steps_name: what to call them in the metrics, one of `rlx.training.metrics.TIME_COLUMNS`.
        num_updates: updates in all; a multiple of `updates_per_report`.
        updates_per_report: updates between two rows of the metrics.
        reports_per_evaluation: reports between two evaluations; the last report always has one.
        reports_per_checkpoint: reports between two checkpoints; the last report always has one.
        keep_checkpoints: how many of the newest checkpoints stay, besides the best.
        replay_in_checkpoints: whether checkpoints hold past experience. Without it a resumed run goes on with the
            replay that a run begins with, so not as it would have uninterrupted.
        run_dir: where to write; None writes nothing.
        config: what `config.json` shall hold and a resumed run must agree with.
        resume: go on from the newest readable checkpoint, bit for bit (but episodes of an environment on the host,
            which no checkpoint can hold, are cut off and started anew); start afresh where there is none.
        allow_changes: resume although the config differs.
        mesh: devices; the default is `rlx.training.sharding.make_mesh`.
        make_writers: further destinations of scalars, given the step from which a resumed run reports.
        quiet: show no progress.

    Raises:
        RunError: the folder is in use, or its config differs.
        FloatingPointError: every run has diverged.
    """
    if num_updates % updates_per_report:
        raise ValueError(
            f"num_updates must be a multiple of updates_per_report={updates_per_report}, got {num_updates}"
        )
    seeds = np.asarray(seeds)
    hyperparameters = {name: np.asarray(values, float) for name, values in hyperparameters.items()}
    mesh = make_mesh(len(seeds), num_envs) if mesh is None else mesh
    first_process = jax.process_index() == 0
    config = {"config": {}} | dict(config or {})
    folder = None if run_dir is None else runs.RunFolder(run_dir)
    if folder is not None:
        _open_folder(folder, config, resume=resume, allow_changes=allow_changes, write=first_process)

    steps_after = lambda update: initial_steps + update * steps_per_update
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(Progress(steps_after(num_updates), quiet=quiet or not first_process))
        progress.phase("compiling")
        start_time = time.perf_counter()
        stop = stack.enter_context(stop_requests())
        compiled = compile_runs(
            build, seeds, hyperparameters, updates_per_report=updates_per_report, mesh=mesh, num_envs=num_envs
        )
        saver = _Saver(
            folder, compiled, keep=keep_checkpoints, replay=replay_in_checkpoints, quiet=quiet or not first_process
        )
        stack.callback(saver.close)
        guard = Guard(seeds, folder, is_first_process=first_process)
        state, update, table = None, 0, MetricsTable(choices=choices)
        if resume and saver.holds_something():
            progress.phase("restoring")
            state, update, table = saver.restore(table)
            guard.recall(update)
            if update:
                start_time -= float(np.ma.max(table["wall_time"]))
                if first_process and not quiet:
                    print(f"resumed at update {update} of {num_updates}", flush=True)
        resumed_from, state = update, compiled.init() if state is None else state
        writers = []
        if folder is not None and first_process:
            resume_step = steps_after(update) + 1 if update else None
            writers = [tensorboard(folder.tensorboard, resume_step=resume_step), *make_writers(resume_step)]
        for writer in writers:
            stack.callback(writer.close)
        reporter = Reporter(
            {"seed": seeds} | {name: hyperparameters[name] for name in swept},
            table=table,
            folder=folder if first_process else None,
            writers=writers,
            progress=progress,
            steps_name=steps_name,
            start_time=start_time,
        )

        stopped_by = None
        while update < num_updates and stopped_by is None:
            progress.phase("training")
            tick = time.perf_counter()
            state, metrics = compiled.advance(state)
            metrics = fetch(metrics)
            seconds = time.perf_counter() - tick
            guard.check(metrics, update)
            update += updates_per_report
            report = update // updates_per_report
            last, stopped_by = update == num_updates, stop()
            evaluation = None
            if last or report % reports_per_evaluation == 0:
                progress.phase("evaluating")
                evaluation = fetch(compiled.evaluate(state))
            # Before the checkpoint: a checkpoint then never knows of updates that the table lacks.
            rows = reporter.report(
                update,
                steps_after(update),
                metrics,
                evaluation,
                trained=updates_per_report * steps_per_update * len(seeds),
                seconds=seconds,
            )
            if last or stopped_by or report % reports_per_checkpoint == 0:
                progress.phase("saving")
                saver.save(update, state, rows)
            if (error := guard.lost()) is not None:
                raise error
        progress.phase("saving")
        saver.close()

    summary = None
    if update >= num_updates:
        summary = summarize(
            table,
            fetch(state.params),
            swept=swept,
            diverged=guard.diverged,
            config=config,
            total_steps=steps_after(num_updates),
            wall_time=time.perf_counter() - start_time,
            compile_time=compiled.seconds,
            steps_per_second=reporter.steps / reporter.seconds if reporter.seconds else None,
        )
        if folder is not None and first_process and (reporter.seconds or not folder.summary.exists()):
            runs.write_json(folder.summary, summary)
    return Fitted(state, table, summary, None if update == num_updates else stopped_by, resumed_from)


class _Saver:
    """Checkpoints of a run, if it has a folder."""

    def __init__(self, folder: runs.RunFolder | None, compiled: CompiledRuns, *, keep: int, replay: bool, quiet: bool):
        self._folder, self._compiled, self._replay = folder, compiled, replay
        self._kept = jax.tree.map(lambda kind: replay or kind != REPLAY, compiled.layout)
        self._manager = None if folder is None else checkpoints.open_manager(folder.checkpoints, keep=keep)
        if folder is not None and not quiet:
            self._say_size()

    def holds_something(self) -> bool:
        return self._manager is not None and bool(self._manager.all_steps())

    def restore(self, table: MetricsTable) -> tuple[PyTree, int, MetricsTable]:
        """State, update and metrics of the newest readable checkpoint; None, 0 and `table` where there is none."""
        try:
            state, update = checkpoints.restore(self._manager, self._compiled.template, kept=self._kept)
        except checkpoints.CheckpointError as error:
            warnings.warn(f"{error}; the run starts from its beginning", RuntimeWarning, stacklevel=3)
            return None, 0, table
        if not self._replay:
            fresh = self._compiled.init()
            state = jax.tree.map(
                lambda keep, old, new: old if keep else new,
                jax.tree.map(lambda keep, part: jax.tree.map(lambda _: keep, part), self._kept, state),
                state,
                fresh,
            )
        table = MetricsTable.read(self._folder.metrics)
        table.truncate(update)
        return state, update, table

    def save(self, update: int, state: PyTree, rows: Mapping[str, Any]) -> None:
        if self._manager is not None:
            checkpoints.save(self._manager, update, state, _score(rows), kept=self._kept)

    def close(self) -> None:
        if self._manager is not None:
            self._manager.wait_until_finished()
            self._manager.close()
            self._manager = None

    def _say_size(self) -> None:
        sizes = jax.tree.map(
            lambda kind, part: (kind == REPLAY, checkpoints.size_in_bytes(part)),
            self._compiled.layout,
            self._compiled.template,
        )
        parts = jax.tree.leaves(sizes, is_leaf=lambda x: isinstance(x, tuple) and len(x) == 2 and type(x[0]) is bool)
        replay, rest = (sum(size for is_replay, size in parts if is_replay == wanted) for wanted in (True, False))
        total = rest + (replay if self._replay else 0)
        if total >= LARGE_CHECKPOINT:
            of_it = f", of which the replay is {bytes_in_words(replay)}" if replay and self._replay else ""
            leave = "; --no-replay-in-checkpoints leaves it out" if replay and self._replay else ""
            print(f"a checkpoint takes {bytes_in_words(total)}{of_it}{leave}", flush=True)


def _open_folder(
    folder: runs.RunFolder, config: Mapping[str, Any], *, resume: bool, allow_changes: bool, write: bool
) -> None:
    changes = runs.check_folder(folder, config["config"], resume=resume, allow_changes=allow_changes)
    if changes and write:
        print(f"resuming with a changed config: {'; '.join(changes)}", flush=True)
    if jax.process_count() > 1:
        # No process may find the config that another one of the same job has just written.
        multihost_utils.sync_global_devices("rlx: run folder checked")
    if write:
        runs.write_json(folder.config, dict(config) | provenance())


def _score(rows: Mapping[str, Any]) -> dict[str, float] | None:
    """What decides which checkpoint is best: the mean evaluation return over the runs that have one."""
    if "eval_return_mean" not in rows or not np.isfinite(rows["eval_return_mean"]).any():
        return None
    return {"eval_return_mean": float(np.nanmean(rows["eval_return_mean"]))}
