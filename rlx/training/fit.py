"""The host loop around a compiled program: progress, evaluation, metrics, checkpoints, a clean stop."""

from __future__ import annotations

import contextlib
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from jaxtyping import PyTree

from rlx.training import checkpoints, runs
from rlx.training.compiled import Build, compile_runs, params_digest
from rlx.training.metrics import MetricsTable, setting_label
from rlx.training.progress import Progress
from rlx.training.provenance import provenance
from rlx.training.sharding import fetch, make_mesh
from rlx.training.statistics import aggregate
from rlx.training.writers import Writer, scalars, tensorboard


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
    build: Build,
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
        build: from one setting of the hyperparameters to a `Program`.
        seeds: one seed for each run.
        hyperparameters: name -> one value for each run.
        swept: names among them that differ between runs on purpose; they become columns of the metrics.
        choices: for a swept name whose values number a list of choices, the choices, for labels.
        num_envs: environments of each run; 0 for runs from a dataset.
        steps_per_update: environment steps of one update of one run; without an environment, gradient steps.
        initial_steps: such steps that a run takes before its first update.
        steps_name: what to call them in the metrics, one of `rlx.training.metrics.TIME_COLUMNS`.
        num_updates: updates in all; a multiple of `updates_per_report`.
        updates_per_report: updates between two rows of the metrics.
        reports_per_evaluation: reports between two evaluations; the last report always has one.
        reports_per_checkpoint: reports between two checkpoints; the last report always has one.
        keep_checkpoints: how many of the newest checkpoints stay, besides the best.
        run_dir: where to write; None writes nothing.
        config: what `config.json` shall hold and a resumed run must agree with.
        resume: go on from the newest readable checkpoint, bit for bit (but episodes of an environment on the host,
            which no checkpoint can hold, are cut off and started anew); start afresh where there is none.
        allow_changes: resume although the config differs.
        mesh: devices; the default is `rlx.training.sharding.make_mesh`.
        make_writers: further destinations of scalars, given the environment step from which a resumed run reports.
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
    folder = None if run_dir is None else runs.RunFolder(run_dir)
    table, manager, config = MetricsTable(choices=choices), None, {"config": {}} | dict(config or {})
    if folder is not None:
        _open_folder(folder, config, resume=resume, allow_changes=allow_changes, write=first_process)
        manager = checkpoints.open_manager(folder.checkpoints, keep=keep_checkpoints)

    def steps_after(update: int) -> int:
        return initial_steps + update * steps_per_update

    total_steps = steps_after(num_updates)
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(Progress(total_steps, quiet=quiet or not first_process))
        progress.phase("compiling")
        start_time = time.perf_counter()
        stop = stack.enter_context(_stop_requests())
        compiled = compile_runs(
            build, seeds, hyperparameters, updates_per_report=updates_per_report, mesh=mesh, num_envs=num_envs
        )
        resumed_from, state = 0, None
        diverged: dict[int, dict[str, Any]] = {}
        if resume and manager is not None and manager.all_steps():
            progress.phase("restoring")
            try:
                state, resumed_from = checkpoints.restore(manager, compiled.template)
            except checkpoints.CheckpointError as error:
                _warn(f"{error}; the run starts from its beginning")
            else:
                table = MetricsTable.read(folder.metrics)
                table.truncate(resumed_from)
                if folder.divergence.exists():
                    earlier = {int(run): found for run, found in runs.read_json(folder.divergence).items()}
                    diverged = {run: found for run, found in earlier.items() if found["update"] <= resumed_from}
                start_time -= float(np.ma.max(table["wall_time"]))
                if first_process and not quiet:
                    print(f"resumed at update {resumed_from} of {num_updates}", flush=True)
        if state is None:
            state = compiled.init()
        update = resumed_from
        writers = []
        if folder is not None and first_process:
            resume_step = steps_after(update) + 1 if update else None
            writers = [tensorboard(folder.tensorboard, resume_step=resume_step), *make_writers(resume_step)]
        for writer in writers:
            stack.callback(writer.close)

        training_seconds, trained_steps, returns = 0.0, 0, np.full(len(seeds), np.nan)
        identity = {"seed": seeds} | {name: hyperparameters[name] for name in swept}
        stopped_by = None
        while update < num_updates and stopped_by is None:
            progress.phase("training")
            tick = time.perf_counter()
            state, metrics = compiled.advance(state)
            metrics = fetch(metrics)
            seconds = time.perf_counter() - tick
            steps = updates_per_report * steps_per_update * len(seeds)
            training_seconds, trained_steps = training_seconds + seconds, trained_steps + steps
            found = {run: what for run, what in first_nonfinite(metrics).items() if run not in diverged}
            for run, what in found.items():
                diverged[run] = what | {"update": update + what["update"]}
                if first_process:
                    _warn(_divergence(seeds, run, diverged, len(seeds) - len(diverged)))
            if found and first_process and folder is not None:
                runs.write_json(folder.divergence, {str(run): what for run, what in diverged.items()})
            update += updates_per_report
            report = update // updates_per_report
            last, stopped_by = update == num_updates, _agreed(stop())
            rows = identity | {"update": update, steps_name: steps_after(update)}
            # A swept hyperparameter keeps its column: it names the setting, whatever a schedule makes of it.
            rows |= {name: value for name, value in _latest(metrics).items() if name not in identity}
            rows |= {"sps": steps / seconds}
            if last or report % reports_per_evaluation == 0:
                progress.phase("evaluating")
                evaluation = fetch(compiled.evaluate(state))
                rows |= evaluation
                returns = evaluation["eval_return_mean"]
            else:
                returns = rows.get("return_mean", returns)
            rows |= {"wall_time": time.perf_counter() - start_time}
            progress.update(steps_after(update), rows["sps"], returns)
            table.append(rows)
            if first_process and folder is not None:
                # Before the checkpoint: a checkpoint then never knows of updates that the table lacks.
                table.write(folder.metrics)
                for writer in writers:
                    writer.write(steps_after(update), scalars(rows, table.choices))
            if manager is not None and (last or stopped_by or report % reports_per_checkpoint == 0):
                progress.phase("saving")
                checkpoints.save(manager, update, state, _score(rows))
            if len(diverged) == len(seeds):
                if manager is not None:
                    manager.close()
                names = ", ".join(_divergence(seeds, run, diverged, None) for run in diverged)
                raise FloatingPointError(f"every run has diverged: {names}")
        if manager is not None:
            progress.phase("saving")
            manager.wait_until_finished()
            manager.close()

    summary = None
    if update >= num_updates:
        summary = _summary(
            table,
            fetch(state.params),
            swept=swept,
            diverged=diverged,
            config=config,
            total_steps=total_steps,
            wall_time=time.perf_counter() - start_time,
            compile_time=compiled.seconds,
            steps_per_second=trained_steps / training_seconds if training_seconds else None,
        )
        if folder is not None and first_process and (training_seconds or not folder.summary.exists()):
            runs.write_json(folder.summary, summary)
    return Fitted(state, table, summary, None if update == num_updates else stopped_by, resumed_from)


def first_nonfinite(metrics: Mapping[str, np.ndarray]) -> dict[int, dict[str, Any]]:
    """The first NaN or infinity of each run in metrics `[run, update]`: run -> metric, value and update (from 1).

    Returns of episodes are exempt until the first episode has finished: there is none yet.
    """
    unfinished = np.asarray(metrics.get("episodes", 1)) == 0
    found: dict[int, dict[str, Any]] = {}
    for name, values in metrics.items():
        bad = ~np.isfinite(values)
        if name in ("return_mean", "episode_length"):
            bad &= ~unfinished
        for run in np.flatnonzero(bad.any(axis=1)):
            first = int(np.argmax(bad[run])) + 1
            if run not in found or first < found[run]["update"]:
                value = "NaN" if np.isnan(values[run, first - 1]) else "infinite"
                found[int(run)] = {"metric": name, "value": value, "update": first}
    return found


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


def _agreed(stop: signal.Signals | None) -> signal.Signals | None:
    """The signal that any process of the job has received: all must leave the loop at the same update."""
    if jax.process_count() == 1:
        return stop
    numbers = multihost_utils.process_allgather(np.array(stop or 0))
    return signal.Signals(int(numbers.max())) if numbers.any() else None


def _latest(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """One row per run: running statistics as they stand, everything else averaged over the updates of the report."""
    rows = {}
    for name, values in metrics.items():
        if name in ("return_mean", "episode_length"):
            rows[name] = np.ma.masked_array(values[:, -1], mask=metrics["episodes"][:, -1] == 0)
        elif name in ("episodes", "learning_rate"):
            rows[name] = values[:, -1]
        else:
            rows[name] = values.mean(axis=1)
    return rows


def _score(rows: Mapping[str, Any]) -> dict[str, float] | None:
    """What decides which checkpoint is best: the mean evaluation return over the runs that have one."""
    if "eval_return_mean" not in rows or not np.isfinite(rows["eval_return_mean"]).any():
        return None
    return {"eval_return_mean": float(np.nanmean(rows["eval_return_mean"]))}


def _summary(
    table: MetricsTable,
    params: Any,
    *,
    swept: Sequence[str],
    diverged: Mapping[int, Mapping[str, Any]],
    config: Mapping[str, Any],
    **totals: Any,
) -> dict[str, Any]:
    last = np.asarray(table["update"]) == np.max(table["update"])
    column = {name: np.ma.filled(values[last].astype(float), np.nan) for name, values in table.columns.items()}
    # A run that diverged has no final return, whatever its last evaluation says.
    final = np.where([run in diverged for run in range(last.sum())], np.nan, column["eval_return_mean"])
    per_run = [
        {
            "seed": int(column["seed"][run]),
            "hyperparameters": (setting := {name: float(column[name][run]) for name in swept}),
            "label": setting_label(setting, table.choices),
            "final_return": _number(final[run]),
            "final_return_stochastic": _number(column["eval_stochastic_return_mean"][run]),
            "params_sha256": params_digest(params, run),
            "diverged": diverged.get(run),
        }
        for run in range(len(final))
    ]
    settings = {}
    for run in per_run if swept else ():
        settings.setdefault(tuple(run["hyperparameters"].items()), []).append(run["final_return"])
    return {
        **{name: config.get(name) for name in ("algorithm", "env")},
        **totals,
        "num_runs": len(per_run),
        "final_return": aggregate(final),
        "runs": per_run,
        "settings": [
            {"hyperparameters": dict(setting), "label": setting_label(dict(setting), table.choices)}
            | aggregate([np.nan if value is None else value for value in values])
            for setting, values in settings.items()
        ],
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _divergence(seeds: np.ndarray, run: int, diverged: Mapping, others: int | None) -> str:
    found = diverged[run]
    text = f"seed {seeds[run]} (run {run}): {found['metric']} became {found['value']} at update {found['update']}"
    return text if others is None else f"{text}; this run is lost, the other {others} go on unharmed"


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)


@contextlib.contextmanager
def _stop_requests() -> Iterator[Callable[[], signal.Signals | None]]:
    """Note SIGINT and SIGTERM instead of dying of them; a second SIGINT interrupts at once."""
    received: list[signal.Signals] = []

    def note(number, frame):
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(signal.Signals(number))
        print(f"\n{received[0].name}: saving after this report, then stopping", flush=True)

    previous = {}
    # Python delivers signals to the main thread only; elsewhere (a notebook's executor) they stay as they are.
    with contextlib.suppress(ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, note)
    try:
        yield lambda: received[0] if received else None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
