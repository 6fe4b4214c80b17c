"""``rlx train``: an algorithm, an environment, seeds and settings → a run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import itertools
import math
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import tyro

import envs
from envs.registry import nearest, nearest_name
from experiments.cli import records
from experiments.cli.errors import CommandError, one_line
from experiments.cli.parsing import grouped, number, parse, ungrouped, value_of
from rlx.training import runs

HELP = """\
usage: rlx train ALGORITHM [OPTIONS]

algorithms:
{algorithms}

  rlx train ppo --help     all options, with the values that suit the environment
"""

DESCRIPTION = """\
Train {name} in one compiled program for all seeds and settings, and leave a run folder.

The values shown are those of {source}; name another --env to see what suits it.

examples:
  rlx train {algorithm}
  rlx train {algorithm} --env brax:ant --seeds 4 --total-steps 2e7
  rlx train {algorithm} --env gymnax:CartPole-v1 --sweep learning_rate=1e-4,3e-4,1e-3
  rlx train {algorithm} --resume --run-dir runs/NAME
"""


Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]


@dataclasses.dataclass(frozen=True)
class Options:
    """How a run is done, apart from its algorithm's config."""

    seeds: int = 8
    """How many seeds; they train side by side in one program."""
    first_seed: int = 0
    """The first of them; the others follow. A seed trains alike in whatever company."""
    sweep: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=VALUE,VALUE,… of a numeric hyperparameter; repeat for the product. Each setting trains with every seed."""
    run_dir: str | None = None
    """Folder of the run; None makes runs/ALGORITHM-ENV-TIME."""
    resume: Switch = False
    """Go on from the newest checkpoint of --run-dir, bit for bit; its own flags need not be repeated."""
    allow_changes: Switch = False
    """Resume although flags differ from those the run was started with."""
    checkpoints: int = 5
    """Checkpoints in a run."""
    keep_checkpoints: int = 2
    """Newest checkpoints to keep, besides the best."""
    compilation_cache: str | None = "auto"
    """Folder of compiled programs, which makes later starts faster: a path, auto (the user's cache) or None."""
    reports: int = 20
    """Rows of metrics.parquet per seed. Set when a run starts."""
    evaluations: int = 10
    """Evaluations in a run."""
    report: Switch = True
    """Write curve.png and report.html at the end."""
    rollout: Switch = True
    """Render the best seed to rollout.gif at the end, where that can be drawn."""
    quiet: Switch = False
    """Print only warnings, errors and the folder."""
    wandb: Switch = False
    """Log to Weights & Biases too."""
    wandb_project: str = "rlx"
    """Project there."""
    mesh: str | None = None
    """Layout of several devices, such as seed=4,env=2; None spreads seeds first."""
    distributed: Switch = False
    """One process of several that train together; start them all alike."""
    coordinator: str | None = None
    """HOST:PORT of the first process; None asks the environment (SLURM, MPI, TPU)."""
    num_processes: int | None = None
    """Processes in all; None asks the environment."""
    process_id: int | None = None
    """Number of this process; None asks the environment."""


GROUPS = {
    "environment": ("env", "backend", "max_episode_steps", "action_repeat"),
    "scale": ("total_steps", "num_envs", "unroll_length", "seeds", "first_seed", "sweep"),
    "algorithm": (),
    "network": (
        "policy",
        "hidden_sizes",
        "critic_hidden_sizes",
        "shared_torso",
        "activation",
        "layer_norm",
        "initial_std",
    ),
    "folder": ("run_dir", "resume", "allow_changes", "checkpoints", "keep_checkpoints", "compilation_cache"),
    "reporting": (
        "reports",
        "evaluations",
        "eval_episodes",
        "max_eval_steps",
        "report",
        "rollout",
        "quiet",
        "wandb",
        "wandb_project",
    ),
    "device": ("mesh", "distributed", "coordinator", "num_processes", "process_id"),
}

PLAN_OPTIONS = ("seeds", "first_seed", "sweep", "reports", "evaluations")
"""Options that decide which numbers a run gives, and so belong to its config."""

# A GIF that report.html can carry: ten seconds, or what the simulator makes of that many steps.
ROLLOUT_FRAMES = 250
ROLLOUT_STEPS = 1000


def main(arguments: Sequence[str]) -> int:
    """``rlx train ALGORITHM …``."""
    if not arguments or arguments[0] in ("-h", "--help"):
        algorithms = "\n".join(f"  {name}" for name in records.ALGORITHMS)
        print(HELP.format(algorithms=algorithms), end="")
        return 0
    algorithm, *arguments = arguments
    module = records.module_of(algorithm)
    config, options, resumed = read_arguments(algorithm, module, arguments)
    return train(algorithm, module, config, options, resumed)


def read_arguments(
    algorithm: str, module: ModuleType, arguments: Sequence[str]
) -> tuple[Any, Options, records.Record | None]:
    """The config, the options, and the record of the run that is resumed.

    What is not on the command line comes from the resumed run, or else from the environment's preset.
    """
    resumed = _resumed(algorithm, arguments)
    saved = {} if resumed is None else _defaults_from(resumed)
    env = value_of("--env", arguments) or saved.get("env") or module.Config.env
    check_environment(env)
    from experiments import presets

    source = f"the run in {resumed.folder.path}" if resumed else f"the preset for {env}"
    kind, default = grouped(
        "train",
        (module.Config, Options),
        {algorithm if name == "algorithm" else name: fields for name, fields in GROUPS.items()},
        algorithm,
        (saved or presets.preset(algorithm, env)) | {"env": env},
    )
    values = ungrouped(
        parse(
            kind,
            arguments,
            prog=f"rlx train {algorithm}",
            description=DESCRIPTION.format(name=algorithm.upper(), algorithm=algorithm, source=source),
            default=default,
        )
    )
    names = {field.name for field in dataclasses.fields(module.Config)}
    options = Options(**{name: value for name, value in values.items() if name not in names})
    return module.Config(**{name: values[name] for name in names}), options, resumed


def check_environment(env: str) -> None:
    """Raises ``UnknownEnvironment`` where a name cannot be one of an environment. Imports no simulator."""
    # Gymnasium's registry is open, so its ids are checked where the environment is made.
    if env not in envs.names() and not env.startswith("gym:"):
        raise envs.UnknownEnvironment(
            f"no environment {env!r}; {nearest_name(env)} (rlx envs lists them all)"
        )


def train(
    algorithm: str, module: ModuleType, config: Any, options: Options, resumed: records.Record | None
) -> int:
    """Do one run; returns the exit code."""
    _check_counts(config, options)
    sweep = read_sweep(options.sweep, module)
    plan = make_plan(config, options, sweep, resumed)
    folder = runs.RunFolder(options.run_dir or _new_folder(algorithm, config.env))
    if resumed is not None:
        if is_finished(resumed, plan, options):
            print(
                f"{folder.path} is finished: nothing to resume\n\n{conclusion(folder, runs.read_json(folder.summary))}"
            )
            return 0
        if options.reports != resumed.plan.get("reports", options.reports):
            raise CommandError("--reports cannot change in a run that has started")
    if options.wandb and importlib.util.find_spec("wandb") is None:
        raise CommandError("--wandb needs its package: pip install 'rlx[wandb]'")
    mesh_shape = read_mesh(options.mesh)

    prepare_jax(options)
    import jax

    from rlx.training.fit import fit
    from rlx.training.sharding import make_mesh

    settings = [dict(zip(sweep, values)) for values in itertools.product(*sweep.values())]
    members = [
        (setting, seed)
        for setting in settings
        for seed in range(plan["first_seed"], plan["first_seed"] + plan["seeds"])
    ]
    base = module.hyperparameters(config)
    hyperparameters = {
        name: [setting.get(name, base.get(name)) for setting, _ in members]
        for name in dict.fromkeys([*base, *sweep])
    }
    record = {"algorithm": algorithm, "env": config.env, "config": plan}
    num_reports = plan["num_updates"] // plan["updates_per_report"]
    first_process = jax.process_index() == 0
    is_new = not folder.config.exists()
    if first_process and not options.quiet:
        print(_opening(algorithm, config, plan, len(settings), folder), flush=True)

    try:
        fitted = fit(
            module.make_build(config, plan["num_updates"]),
            seeds=[seed for _, seed in members],
            hyperparameters=hyperparameters,
            swept=tuple(sweep),
            num_envs=config.num_envs,
            steps_per_update=config.steps_per_update,
            num_updates=plan["num_updates"],
            updates_per_report=plan["updates_per_report"],
            reports_per_evaluation=max(1, num_reports // options.evaluations),
            reports_per_checkpoint=max(1, num_reports // options.checkpoints),
            keep_checkpoints=options.keep_checkpoints,
            run_dir=folder.path,
            config=record,
            resume=options.resume,
            allow_changes=options.allow_changes,
            mesh=make_mesh(len(members), config.num_envs, **mesh_shape),
            make_writers=lambda resume_step: _wandb(options, folder, record) if options.wandb else (),
            quiet=options.quiet,
        )
    except FloatingPointError as error:
        if first_process and options.report:
            write_pages(folder)
        print(f"rlx: error: {one_line(error)}; {folder.path} holds what was measured", file=sys.stderr)
        return 1
    except BaseException:
        if first_process and is_new and not folder.metrics.exists():
            discard(folder)
        raise

    resume_command = f"rlx train {algorithm} --resume --run-dir {shlex.quote(str(folder.path))}"
    if fitted.stopped_by is not None:
        if first_process:
            print(
                f"stopped by {fitted.stopped_by.name}; nothing is lost. Go on with: {resume_command}",
                flush=True,
            )
        return 128 + fitted.stopped_by
    write_artifacts(folder, module, config, options, fitted)
    if first_process:
        print(folder.path if options.quiet else conclusion(folder, fitted.summary), flush=True)
    return 0


def read_sweep(words: Sequence[str], module: ModuleType) -> dict[str, list[float]]:
    """``["learning_rate=1e-4,3e-4"]`` as ``{"learning_rate": [1e-4, 3e-4]}``.

    Raises:
      CommandError: not of that form, or a name that cannot be swept.
    """
    sweep = {}
    for word in words:
        name, equals, values = word.partition("=")
        name = name.strip().replace("-", "_")
        values = [value for value in values.split(",") if value.strip()]
        if not equals or not values:
            raise CommandError(f"--sweep takes NAME=VALUE,VALUE,…, got {word!r}")
        if name not in module.SWEEPABLE:
            if name in {field.name for field in dataclasses.fields(module.Config)}:
                raise CommandError(
                    f"{name} cannot be swept, it shapes the program; these can: {', '.join(module.SWEEPABLE)}"
                )
            raise CommandError(f"no hyperparameter {name!r} to sweep; {nearest(name, module.SWEEPABLE)}")
        if name in sweep:
            raise CommandError(f"--sweep names {name} twice; give all its values at once")
        try:
            sweep[name] = [number(value) for value in values]
        except ValueError as error:
            raise CommandError(f"--sweep {name}: {error}") from None
    return sweep


def read_mesh(text: str | None) -> dict[str, int]:
    """``"seed=4,env=2"`` as ``{"seed": 4, "env": 2}``.

    Raises:
      CommandError: not of that form.
    """
    mesh = {}
    for word in (text or "").split(",") if text else ():
        axis, _, count = word.partition("=")
        if axis.strip() not in ("seed", "env") or not count.strip().isdigit() or int(count) < 1:
            raise CommandError(f"--mesh takes seed=N,env=M with whole numbers, got {text!r}")
        mesh[axis.strip()] = int(count)
    return mesh


def make_plan(
    config: Any, options: Options, sweep: dict[str, list[float]], resumed: records.Record | None
) -> dict[str, Any]:
    """Everything that decides a run's numbers, as ``config.json`` keeps it."""
    # A run's reports stay where they were: its checkpoints lie on them.
    started = {} if resumed is None else resumed.plan
    updates_per_report = started.get("updates_per_report") or max(1, config.num_updates // options.reports)
    return (
        dataclasses.asdict(config)
        | {name: getattr(options, name) for name in PLAN_OPTIONS}
        | {
            "sweep": sweep,
            "num_updates": updates_per_report * math.ceil(config.num_updates / updates_per_report),
            "updates_per_report": updates_per_report,
        }
    )


def is_finished(resumed: records.Record, plan: dict[str, Any], options: Options) -> bool:
    """Whether nothing is left to do: trained to the end with this very plan, and its pages written."""
    return (
        resumed.folder.summary.exists()
        and not runs.config_changes(resumed.plan, plan)
        and (resumed.folder.report.exists() or not options.report)
    )


def prepare_jax(options: Options) -> None:
    """Join the other processes, and remember compiled programs."""
    import jax

    cache = compilation_cache(options.compilation_cache)
    if cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if options.distributed:
        jax.distributed.initialize(
            coordinator_address=options.coordinator,
            num_processes=options.num_processes,
            process_id=options.process_id,
        )


def compilation_cache(folder: str | None) -> Path | None:
    """Where compiled programs are kept: the folder named, the user's cache for ``auto``, None for none."""
    if folder != "auto":
        return None if folder is None else Path(folder).expanduser()
    named = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    return (
        Path(named)
        if named
        else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlx" / "xla"
    )


def discard(folder: runs.RunFolder) -> None:
    """Take back a folder in which nothing was trained, so that the corrected command can use it."""
    folder.config.unlink(missing_ok=True)
    for path in (folder.checkpoints, folder.tensorboard, folder.path):
        with contextlib.suppress(OSError):  # what holds a file stays
            path.rmdir()


def write_artifacts(
    folder: runs.RunFolder, module: ModuleType, config: Any, options: Options, fitted: Any
) -> None:
    """Draw the best seed and write the pages; every process calls it, the first one writes.

    What fails is a warning: the run itself is safe by now.
    """
    import jax

    if options.rollout:
        _try("rollout.gif", lambda: write_rollout(folder, module, config, fitted))
    if options.report and jax.process_index() == 0:
        write_pages(folder)


def write_rollout(folder: runs.RunFolder, module: ModuleType, config: Any, fitted: Any) -> None:
    """Render the first seconds of an episode of the best run to ``rollout.gif``."""
    import jax
    import numpy as np

    from experiments import rollouts
    from rlx.training.sharding import fetch

    learner_state = fetch(fitted.state.learner)
    if jax.process_index() > 0:
        return
    scores = [run["final_return"] for run in fitted.summary["runs"]]
    best = int(np.argmax([-np.inf if score is None else score for score in scores]))
    environment = rollouts.drawable(module.make_environment(config))
    learner = module.make_learner(config, environment)
    num_steps = min(environment.max_episode_steps or config.max_eval_steps, ROLLOUT_STEPS)
    act = jax.jit(lambda state, key: rollouts.rollout(environment, learner, state, key, num_steps=num_steps))
    played = act(jax.tree.map(lambda x: x[best], learner_state), jax.random.key(0))
    frames, seconds = rollouts.pictures(environment, played, max_frames=ROLLOUT_FRAMES)
    rollouts.write_video(folder.rollout, frames, seconds)


def write_pages(folder: runs.RunFolder) -> None:
    """Write ``curve.png`` and ``report.html`` from what the folder holds."""
    from rlx.training import plots, report

    title = runs.read_json(folder.config)["env"]
    _try(
        "curve.png",
        lambda: plots.learning_curve({folder.path.name: folder.metrics}, out=folder.curve, title=title),
    )
    _try("report.html", lambda: report.write_report(folder.path))


def conclusion(folder: runs.RunFolder, summary: dict[str, Any]) -> str:
    """What a run reached, what it wrote, and what to try next."""
    from rlx.training.metrics import setting_label
    from rlx.training.progress import duration, engineering, number

    def result(aggregate: dict[str, Any]) -> str:
        low, high = aggregate["interval"]
        if low is None:
            return "none: every seed diverged"
        count, finite = aggregate["num_runs"], aggregate["num_finite"]
        spread = (
            f" ({aggregate['confidence']:.0%} interval {number(low)} to {number(high)})" if finite > 1 else ""
        )
        seeds = f"{count} seeds" if count != 1 else "1 seed"
        return f"{number(aggregate['interquartile_mean'])}{spread} over {seeds if finite == count else f'{finite} of {seeds}'}"

    path, other = folder.path, "brax:ant" if summary["env"] != "brax:ant" else "brax:halfcheetah"
    lines = []
    if summary["settings"]:
        ranked = sorted(
            summary["settings"],
            key=lambda setting: (
                -math.inf if setting["interquartile_mean"] is None else setting["interquartile_mean"]
            ),
            reverse=True,
        )
        labels = [setting_label(setting["hyperparameters"]) for setting in ranked]
        lines += [
            ("final return" if i == 0 else "", f"{label:<{max(map(len, labels))}}  {result(setting)}")
            for i, (label, setting) in enumerate(zip(labels, ranked))
        ]
    else:
        lines += [("final return", result(summary["final_return"]))]
    rate = summary["steps_per_second"]
    speed = f"{engineering(rate)} steps/s · " if rate else ""
    lines += [
        (
            "speed",
            f"{speed}{duration(summary['wall_time'])}, after {duration(summary['compile_time'])} of compilation",
        ),
        ("wrote", f"{path}/"),
        ("", " ".join(sorted(entry.name for entry in path.iterdir() if not entry.name.startswith(".")))),
        ("next", f"rlx play {path}"),
        ("", f"rlx plot {path}"),
        ("", f"open {folder.report}") if folder.report.exists() else None,
        ("", f"rlx train {summary['algorithm']} --env {other}"),
    ]
    return "\n".join(f"  {name:<13} {text}" for name, text in filter(None, lines))


def _resumed(algorithm: str, arguments: Sequence[str]) -> records.Record | None:
    """The record of the run that ``--resume`` names; None without the flag, or where the folder holds no run yet."""
    if "--resume" not in arguments:
        return None
    run_dir = value_of("--run-dir", arguments)
    if run_dir is None:
        newest = records.newest_runs()
        raise CommandError(
            "--resume needs --run-dir" + (f"; the newest runs are {', '.join(newest)}" if newest else "")
        )
    # A job that is started again after it died early, or for the first time, uses one command for both.
    if not runs.RunFolder(run_dir).config.exists():
        return None
    record = records.read(run_dir)
    if record.algorithm != algorithm:
        raise CommandError(
            f"{run_dir} is a run of {record.algorithm}: rlx train {record.algorithm} --resume --run-dir {run_dir}"
        )
    return record


def _defaults_from(record: records.Record) -> dict[str, Any]:
    options = {name: record.plan[name] for name in PLAN_OPTIONS if name in record.plan}
    sweep = tuple(
        f"{name}={','.join(map(repr, values))}" for name, values in record.plan.get("sweep", {}).items()
    )
    return dataclasses.asdict(record.config) | options | {"sweep": sweep}


def _check_counts(config: Any, options: Options) -> None:
    for name, value in (
        *((name, getattr(config, name)) for name in ("total_steps", "num_envs", "unroll_length")),
        *(
            (name, getattr(options, name))
            for name in ("seeds", "reports", "evaluations", "checkpoints", "keep_checkpoints")
        ),
    ):
        if value < 1:
            raise CommandError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    if options.first_seed < 0:
        raise CommandError(f"--first-seed must not be negative, got {options.first_seed}")
    if options.distributed and options.run_dir is None:
        raise CommandError("--distributed needs --run-dir, the same for every process")
    if (
        not options.distributed
        and (options.coordinator, options.num_processes, options.process_id) != (None,) * 3
    ):
        raise CommandError("--coordinator, --num-processes and --process-id need --distributed")


def _new_folder(algorithm: str, env: str) -> Path:
    return (
        Path("runs")
        / f"{algorithm}-{env.replace(':', '-').replace('/', '-')}-{time.strftime('%Y%m%d-%H%M%S')}"
    )


def _opening(
    algorithm: str, config: Any, plan: dict[str, Any], num_settings: int, folder: runs.RunFolder
) -> str:
    from rlx.training.progress import engineering

    seeds = f"{plan['seeds']} seeds" if plan["seeds"] != 1 else "1 seed"
    settings = f" × {num_settings} settings" if num_settings > 1 else ""
    steps = engineering(plan["num_updates"] * config.steps_per_update)
    return f"{algorithm.upper()} on {config.env}: {seeds}{settings} × {steps} steps → {folder.path}"


def _wandb(options: Options, folder: runs.RunFolder, record: dict[str, Any]) -> list:
    from rlx.training.writers import wandb

    name = folder.path.resolve().name
    return [
        wandb(
            options.wandb_project,
            name=name,
            config=record["config"] | {"algorithm": record["algorithm"]},
            dir=str(folder.path),
            id=name,
            resume="allow",
        )
    ]


def _try(name: str, make: Callable[[], Any]) -> None:
    try:
        make()
    except Exception as error:  # the run is done and saved: no picture of it may take it away
        warnings.warn(f"no {name}: {one_line(error) or type(error).__name__}", stacklevel=2)
