"""`rlx train`: an algorithm, an environment, seeds and settings → a run folder."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import math
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from rlx import envs
from rlx.cli import records
from rlx.cli.artifacts import conclusion, discard, opening, write_artifacts, write_pages
from rlx.cli.errors import CommandError, one_line
from rlx.cli.options import (
    GROUPS,
    PLAN_OPTIONS,
    Options,
    check_counts,
    compilation_cache,
    read_mesh,
    read_sweep,
)
from rlx.cli.parsing import grouped, parse, ungrouped, value_of
from rlx.envs.registry import nearest_name
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

TOKENS_DESCRIPTION = """\
Train a policy over tokens by {name} or a method derived from it, in one compiled program for all seeds and settings,
and leave a run folder. Tasks have verifiers and solutions of their own: a warm-up on these comes first.

examples:
  rlx train {algorithm} --task addition --seeds 4
  rlx train {algorithm} --task countdown@numbers=4 --method dapo --oversample 2
  rlx train {algorithm} --task sorting --method grpo@beta=0.01 --sweep learning_rate=1e-4,3e-4
  rlx train {algorithm} --resume --run-dir runs/NAME
"""

OFFLINE_DESCRIPTION = """\
Train {name} from a dataset, in one compiled program for all seeds and settings, and leave a run folder.

The values shown are those of {source}; the environment, in which policies are evaluated, is the one that the dataset
names.

examples:
  rlx dataset make --env rlx:pendulum --level mixed --out mixed.hdf5
  rlx train {algorithm} --dataset mixed.hdf5 --total-steps 1e5 --seeds 4
  rlx train {algorithm} --dataset mixed.hdf5 --weighting return
  rlx train {algorithm} --resume --run-dir runs/NAME
"""


def main(arguments: Sequence[str]) -> int:
    """`rlx train ALGORITHM …`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        algorithms = "\n".join(f"  {name}" for name in records.ALGORITHMS)
        print(HELP.format(algorithms=algorithms), end="")
        return 0
    algorithm, *arguments = arguments
    module = records.module_of(algorithm)
    description = OFFLINE_DESCRIPTION if algorithm in records.OFFLINE else DESCRIPTION
    description = TOKENS_DESCRIPTION if algorithm == "grpo" else description
    config, options, resumed = read_arguments(algorithm, module, arguments, description)
    return train(algorithm, module, config, options, resumed)


def read_arguments(
    algorithm: str, module: ModuleType, arguments: Sequence[str], description: str = DESCRIPTION
) -> tuple[Any, Options, records.Record | None]:
    """The config, the options, and the record of the run that is resumed.

    What is not on the command line comes from the resumed run, or else from the environment's preset.
    """
    resumed = _resumed(algorithm, arguments)
    saved = {} if resumed is None else _defaults_from(resumed)
    if "--sweep" in arguments or any(word.startswith("--sweep=") for word in arguments):
        saved.pop("sweep", None)  # tyro appends to a default
    from rlx.recipes import presets

    names = {field.name for field in dataclasses.fields(module.Config)}
    name, command = algorithm.removesuffix(records.ABLATION), records.command_of(algorithm)
    known, source = {}, "the paper"
    if "env" in names:
        env = value_of("--env", arguments) or saved.get("env")
        if env is None and (dataset := value_of("--dataset", arguments)) and hasattr(module, "env_of"):
            env = module.env_of(dataset)
        env = env or module.Config.env
        check_environment(env)
        known, source = presets.preset(name, env) | {"env": env}, f"the preset for {env}"
    if resumed:
        source = f"the run in {resumed.folder.path}"
    kind, default = grouped(
        "train",
        (module.Config, Options),
        {name if group == "algorithm" else group: fields for group, fields in GROUPS.items()},
        name,
        known | saved | ({"env": known["env"]} if known else {}),
    )
    values = ungrouped(
        parse(
            kind,
            arguments,
            prog=command,
            description=description.format(name=name.upper(), algorithm=name, source=source),
            default=default,
        )
    )
    options = Options(**{name: value for name, value in values.items() if name not in names})
    return module.Config(**{name: values[name] for name in names}), options, resumed


def check_environment(env: str) -> None:
    """Raises `UnknownEnvironment` where a name cannot be one of an environment. Imports no simulator."""
    # Gymnasium's registry is open, so its ids are checked where the environment is made.
    if env not in envs.names() and not env.startswith("gym:"):
        raise envs.UnknownEnvironment(f"no environment {env!r}; {nearest_name(env)} (rlx envs lists them all)")


def train(
    algorithm: str,
    module: ModuleType,
    config: Any,
    options: Options,
    resumed: records.Record | None,
    finish: Callable[[runs.RunFolder, Any], None] | None = None,
) -> int:
    """Do one run, and `finish` its folder, given the summary; returns the exit code."""
    check_counts(config, options)
    sweep = read_sweep(options.sweep, module)
    plan = make_plan(config, options, sweep, resumed)
    folder = runs.RunFolder(options.run_dir or _new_folder(algorithm, config.env))
    if resumed is not None and is_finished(resumed, plan, options):
        print(f"{folder.path} is finished: nothing to resume\n")
        print(conclusion(folder, runs.read_json(folder.summary)))
        return 0
    if options.wandb and importlib.util.find_spec("wandb") is None:
        raise CommandError("--wandb needs its package: pip install 'rlx[wandb]'")
    mesh_shape = read_mesh(options.mesh)
    # `fit` checks the same; here it costs no import of a simulator.
    runs.check_folder(folder, plan, resume=options.resume, allow_changes=options.allow_changes)

    if resumed is not None and config.env.startswith("gym:"):
        warnings.warn(
            f"{config.env} runs on the host, and its episodes ended with the process that ran them: new ones start "
            "here, so this run goes on, but not as it would have uninterrupted",
            stacklevel=2,
        )
    prepare_jax(options, plan["seeds"] * math.prod(map(len, sweep.values())))
    if resumed is not None and options.allow_changes:
        check_changes(resumed, records.Record(folder, algorithm, module, config, plan))
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
        name: [setting.get(name, base.get(name)) for setting, _ in members] for name in dict.fromkeys([*base, *sweep])
    }
    record = {"algorithm": algorithm, "env": config.env, "config": plan}
    num_reports = plan["num_updates"] // plan["updates_per_report"]
    first_process = jax.process_index() == 0
    is_new = not folder.config.exists()
    if first_process and not options.quiet:
        print(opening(algorithm, config, plan, len(settings), folder), flush=True)

    try:
        fitted = fit(
            module.make_build(config, plan["num_updates"]),
            seeds=[seed for _, seed in members],
            hyperparameters=hyperparameters,
            swept=tuple(sweep),
            choices=getattr(config, "choices", None),
            num_envs=config.num_envs,
            steps_per_update=config.steps_per_update,
            initial_steps=getattr(config, "initial_steps", 0),
            steps_name=getattr(config, "steps_name", "env_steps"),
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
        if first_process and not options.no_report:
            write_pages(folder)
        print(f"rlx: error: {one_line(error)}; {folder.path} holds what was measured", file=sys.stderr)
        return 1
    except BaseException:
        if first_process and is_new and not folder.metrics.exists():
            discard(folder)
        raise

    resume_command = f"{records.command_of(algorithm)} --resume --run-dir {shlex.quote(str(folder.path))}"
    if fitted.stopped_by is not None:
        if first_process:
            print(
                f"stopped by {fitted.stopped_by.name}; nothing is lost. Go on with: {resume_command}",
                flush=True,
            )
        return 128 + fitted.stopped_by
    write_artifacts(folder, module, config, options, fitted)
    if first_process:
        if finish is not None:
            finish(folder, fitted.summary)
        print(folder.path if options.quiet else conclusion(folder, fitted.summary), flush=True)
    return 0


def make_plan(
    config: Any, options: Options, sweep: dict[str, list[float]], resumed: records.Record | None
) -> dict[str, Any]:
    """Everything that decides a run's numbers, as `config.json` keeps it."""
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
        and (resumed.folder.report.exists() or options.no_report)
    )


def check_changes(saved: records.Record, changed: records.Record) -> None:
    """Raises `CommandError` where a changed config could not go on from the checkpoints there are."""
    differences = "; ".join(runs.config_changes(saved.plan, changed.plan))
    if saved.plan["reports"] != changed.plan["reports"]:
        raise CommandError("--reports cannot change in a run that has started")
    if not differences:
        return
    import jax

    shapes = [
        [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(records.state_template(record))]
        for record in (saved, changed)
    ]
    if shapes[0] != shapes[1]:
        raise CommandError(
            f"these changes give the training state another shape than its checkpoints have ({differences}): "
            "choose another --run-dir"
        )


def prepare_jax(options: Options, num_runs: int = 1) -> None:
    """Join the other processes, remember compiled programs, and make a device of every core that can have runs."""
    import jax

    from rlx.training.sharding import use_cores

    if not (options.mesh or options.distributed):
        use_cores(num_runs)
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


def _resumed(algorithm: str, arguments: Sequence[str]) -> records.Record | None:
    """The record of the run that `--resume` names; None without the flag, or where there is no run yet."""
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
        warnings.warn(f"{run_dir} holds no run yet: it starts here", stacklevel=2)
        return None
    record = records.read(run_dir)
    if record.algorithm != algorithm:
        command = records.command_of(record.algorithm)
        raise CommandError(f"{run_dir} is a run of {record.algorithm}: {command} goes on with it")
    return record


def _defaults_from(record: records.Record) -> dict[str, Any]:
    options = {name: record.plan[name] for name in PLAN_OPTIONS if name in record.plan}
    sweep = tuple(f"{name}={','.join(map(repr, values))}" for name, values in record.plan.get("sweep", {}).items())
    return dataclasses.asdict(record.config) | options | {"sweep": sweep}


def _new_folder(algorithm: str, env: str) -> Path:
    name = f"{algorithm}-{env}-{time.strftime('%Y%m%d-%H%M%S')}"
    return Path("runs") / name.replace(":", "-").replace("/", "-")


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
