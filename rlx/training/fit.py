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
from jax.sharding import Mesh
from jaxtyping import PyTree

from rlx.training import checkpoints, lock, runs
from rlx.training.compiled import Build, CompiledRuns, compile_runs, resolved_batching
from rlx.training.disk import free_name
from rlx.training.guard import Guard
from rlx.training.metrics import MetricsTable
from rlx.training.processes import by_first_process
from rlx.training.program import REPLAY
from rlx.training.progress import Progress, bytes_in_words
from rlx.training.provenance import numerics, provenance
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
    evaluate_start: bool = False,
    reports_per_checkpoint: int = 1,
    keep_checkpoints: int = 2,
    replay_in_checkpoints: bool = True,
    run_dir: str | Path | None = None,
    config: Mapping[str, Any] | None = None,
    resume: bool = False,
    allow_changes: bool = False,
    mesh: Mesh | None = None,
    batching: str = "auto",
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
        evaluate_start: whether what runs begin with is evaluated too, in a row of the metrics for update 0.
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
        batching: how runs are put together, as of `rlx.training.compiled.compile_runs`.
        make_writers: further destinations of scalars, given the step from which a resumed run reports.
        quiet: show no progress.

    Raises:
        RunError: the folder is in use or cannot be written, its config differs, or none of its checkpoints can be
            read; nothing in it has been changed.
        DiskError: the disk is full, or became read-only; what was saved before is whole.
        FloatingPointError: every run has diverged.
    """
    if num_updates % updates_per_report:
        raise ValueError(
            f"num_updates must be a multiple of updates_per_report={updates_per_report}, got {num_updates}"
        )
    seeds = _as_seeds(seeds)
    hyperparameters = {name: np.asarray(values, float) for name, values in hyperparameters.items()}
    mesh = make_mesh(len(seeds), num_envs) if mesh is None else mesh
    first_process = jax.process_index() == 0
    config = {"config": {}} | dict(config or {})
    folder = None if run_dir is None else runs.RunFolder(run_dir)
    silent = quiet or not first_process

    steps_after = lambda update: initial_steps + update * steps_per_update
    with contextlib.ExitStack() as stack:
        record = None
        if folder is not None:
            open_folder = lambda: _open_folder(
                stack, folder, config, mesh, batching=batching, resume=resume, allow_changes=allow_changes, quiet=quiet
            )
            record = by_first_process(open_folder)
        progress = stack.enter_context(Progress(steps_after(num_updates), quiet=silent))
        progress.phase("compiling")
        start_time = time.perf_counter()
        compiled = compile_runs(
            build, seeds, hyperparameters, updates_per_report=updates_per_report, mesh=mesh, batching=batching
        )
        saver = _Saver(folder, compiled, keep=keep_checkpoints, replay=replay_in_checkpoints, quiet=silent)
        guard = Guard(seeds, folder, is_first_process=first_process)
        state, update, table = None, 0, MetricsTable(choices=choices)
        if resume and folder is not None:
            progress.phase("restoring")
            state, update = saver.restore()
            table = _rows_so_far(folder, update, num_updates, table, write=first_process)
            guard.recall(update)
            if len(table):
                start_time -= float(np.ma.max(table["wall_time"]))
            if update and not silent:
                print(f"resumed at update {update} of {num_updates}", flush=True)
        resumed_from = update
        if state is None:
            # Random steps of a replay, or the warm-up of a language model, may take minutes.
            progress.phase("initializing")
            state = compiled.init()
        # Nothing in the folder has changed up to here, and from here on nothing is lost by a signal.
        stop = stack.enter_context(stop_requests())
        if record is not None:
            _write_record(folder, record, update)
        stack.push(_closing(saver.close))
        saver.open(update)
        writers = []
        if folder is not None and first_process:
            resume_step = steps_after(update) + 1 if update else None
            writers = [tensorboard(folder.tensorboard, resume_step=resume_step), *make_writers(resume_step)]
        for writer in writers:
            stack.push(_closing(writer.close))
        reporter = Reporter(
            {"seed": seeds} | {name: hyperparameters[name] for name in swept},
            table=table,
            folder=folder if first_process else None,
            writers=writers,
            progress=progress,
            steps_name=steps_name,
            start_time=start_time,
        )

        if evaluate_start and update == 0:
            progress.phase("evaluating")
            reporter.report(update, steps_after(update), {}, fetch(compiled.evaluate(state)), trained=0, seconds=0.0)
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
        state = compiled.join(state)

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
            if folder is not None and first_process and (reporter.seconds or runs.read_summary(folder) is None):
                runs.write_json(folder.summary, summary)
    return Fitted(state, table, summary, None if update == num_updates else stopped_by, resumed_from)


class _Saver:
    """Checkpoints of a run, if it has a folder."""

    def __init__(self, folder: runs.RunFolder | None, compiled: CompiledRuns, *, keep: int, replay: bool, quiet: bool):
        self._folder, self._compiled, self._keep, self._replay = folder, compiled, keep, replay
        self._kept = jax.tree.map(lambda kind: replay or kind != REPLAY, compiled.layout)
        self._manager = None
        note = size_note(compiled.layout, compiled.template, replay=replay)
        if folder is not None and not quiet and note is not None:
            print(note, flush=True)

    def restore(self) -> tuple[PyTree | None, int]:
        """State and update of the newest readable checkpoint; None and 0 where nothing was saved yet.

        Raises:
            RunError: there are checkpoints, or there were, and none can be read.
        """
        anew = "nothing was changed; --restart moves this run aside and begins anew"
        if not checkpoints.updates(self._folder.checkpoints):
            if self._folder.summary.exists():
                raise runs.RunError(f"{self._folder.path} is a finished run whose checkpoints are gone: {anew}")
            return None, 0
        try:
            state, update = checkpoints.restore(self._folder.checkpoints, self._compiled.template, kept=self._kept)
        except checkpoints.CheckpointError as error:
            raise runs.RunError(f"{error}: {anew}") from error
        if not self._replay:
            fresh = self._compiled.join(self._compiled.init())
            state = jax.tree.map(
                lambda keep, old, new: old if keep else new,
                jax.tree.map(lambda keep, part: jax.tree.map(lambda _: keep, part), self._kept, state),
                state,
                fresh,
            )
        return self._compiled.split(state), update

    def open(self, update: int) -> None:
        """Make ready to save what follows an update."""
        if self._folder is not None:
            self._manager = checkpoints.open_manager(self._folder.checkpoints, keep=self._keep, restored=update)

    def save(self, update: int, state: PyTree, rows: Mapping[str, Any]) -> None:
        if self._manager is not None:
            checkpoints.save(self._manager, update, self._compiled.join(state), _score(rows), kept=self._kept)

    def close(self) -> None:
        """Wait until everything is saved."""
        if self._manager is not None:
            manager, self._manager = self._manager, None
            checkpoints.close(manager)


def size_note(layout: PyTree, template: PyTree, *, replay: bool) -> str | None:
    """What a person should know of the size of checkpoints before training; None where they are small.

    Args:
        layout: of the state, as of `Program`.
        template: shapes of the state of all runs.
        replay: whether checkpoints hold past experience.
    """

    def size(*, past: bool) -> int:
        of_part = lambda kind, part: checkpoints.size_in_bytes(part) if (kind == REPLAY) == past else 0
        return sum(jax.tree.leaves(jax.tree.map(of_part, layout, template)))

    of_replay = size(past=True) if replay else 0
    total = size(past=False) + of_replay
    if total < LARGE_CHECKPOINT:
        return None
    leave = f", of which the replay is {bytes_in_words(of_replay)}; --no-replay-in-checkpoints leaves it out"
    return f"a checkpoint takes {bytes_in_words(total)}{leave if of_replay else ''}"


def _as_seeds(seeds: Sequence[int]) -> np.ndarray:
    """Seeds as integers that a random key takes whole.

    Raises:
        ValueError: one of them is too large, and would be taken for another.
    """
    outside = [seed for seed in np.asarray(seeds, object).tolist() if not 0 <= seed < 2**31]
    if outside:
        raise ValueError(f"seeds must be in [0, 2147483647], got {outside[0]}")
    return np.asarray(seeds)


def _open_folder(
    stack: contextlib.ExitStack,
    folder: runs.RunFolder,
    config: Mapping[str, Any],
    mesh: Mesh,
    *,
    batching: str,
    resume: bool,
    allow_changes: bool,
    quiet: bool,
) -> dict[str, Any]:
    """Lock a folder and see whether this run may write there; returns what `config.json` shall hold."""
    changes = runs.check_folder(folder, config["config"], resume=resume, allow_changes=allow_changes)
    stack.enter_context(lock.held(folder.path))
    one_by_one = resolved_batching(batching) == "map" and mesh.shape["env"] == 1
    start = numerics(config.get("env"), None if one_by_one else dict(mesh.shape))
    starts = runs.starts(folder)
    moved = runs.config_changes({**start, **starts[-1]["numerics"]}, start) if starts else []
    if moved and not allow_changes:
        raise runs.RunError(
            f"{folder.path} was trained until now with other devices, precision or releases, which changes its numbers "
            f"({'; '.join(moved)}): resume it where it was, or add --allow-changes"
        )
    if (changes or moved) and not quiet:
        print(f"resuming with changes: {'; '.join([*changes, *moved])}", flush=True)
    made_with = provenance()
    return dict(config) | made_with | {"starts": [*starts, {"update": 0, "numerics": start} | made_with]}


def _write_record(folder: runs.RunFolder, record: dict[str, Any], update: int) -> None:
    """Write `config.json`, of a run that starts at an update."""
    folder.remove_unfinished()
    record["starts"][-1]["update"] = update
    runs.write_json(folder.config, record)


def _rows_so_far(
    folder: runs.RunFolder, update: int, num_updates: int, empty: MetricsTable, *, write: bool
) -> MetricsTable:
    """The rows up to an update; where they cannot be read, none, and what is in their place is set aside."""
    try:
        if update:
            return runs.rows_until(folder, update)
        reason = "no checkpoint was saved yet, so this run begins anew"
    except ValueError as error:
        if update >= num_updates:
            anew = "nothing was changed; --restart moves this run aside and begins anew"
            raise runs.RunError(f"{error}, and no update is left that would measure anew: {anew}") from None
        reason = f"{error}: this run goes on without its earlier rows"
    if folder.metrics.exists() and write:
        aside = free_name(folder.metrics, "old")
        folder.metrics.rename(aside)
        reason += f"; what was there is in {aside.name} now"
        warnings.warn(reason, RuntimeWarning, stacklevel=3)
    return empty


def _closing(close: Callable[[], None]) -> Callable[..., None]:
    """Close something at the end of a stack; after an error, without another one."""

    def at_the_end(kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        with contextlib.nullcontext() if error is None else contextlib.suppress(Exception):
            close()

    return at_the_end


def _score(rows: Mapping[str, Any]) -> dict[str, float] | None:
    """What decides which checkpoint is best: the mean evaluation return over the runs that have one."""
    if "eval_return_mean" not in rows or not np.isfinite(rows["eval_return_mean"]).any():
        return None
    return {"eval_return_mean": float(np.nanmean(rows["eval_return_mean"]))}
