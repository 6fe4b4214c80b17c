"""`rlx train`: an algorithm, an environment, seeds and settings → a run folder."""

from __future__ import annotations

import contextlib
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
from typing import Any

from rlx import envs
from rlx.cli.artifacts import claimed, conclusion, opening, write_artifacts, write_pages
from rlx.cli.errors import CommandError, one_line, traceback_in
from rlx.cli.options import REMEMBERED, Options, compilation_cache, plan_options, read_mesh, read_sweep
from rlx.cli.parsing import grouped, parse, preview, ungrouped
from rlx.envs.registry import nearest_name
from rlx.recipes import RECIPES, recipe, trained
from rlx.recipes.settings import hyperparameters, settings
from rlx.recipes.simulatorless import NONE
from rlx.recipes.wiring import Config, Recipe, make_build
from rlx.training import lock, runs
from rlx.training.disk import DiskError

SUBJECTS = ("env", "dataset", "task", "pairs")
"""Fields of configs that say what is trained on."""

HELP = """\
usage: rlx train ALGORITHM [OPTIONS]

algorithms:
{algorithms}

  rlx train ppo --help     all options, with the values that suit the environment
"""

DESCRIPTION = """\
Train {title}, compiled once for all seeds and settings, and leave a run folder.

{about}The values shown are those of {source}.

examples:
{examples}
  rlx train {name} --resume --run-dir runs/NAME
"""


def main(arguments: Sequence[str]) -> int:
    """`rlx train ALGORITHM …`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, RECIPES))
        algorithms = "\n".join(f"  {name:<{width}}  {what}" for name, (_, what) in RECIPES.items())
        print(HELP.format(algorithms=algorithms), end="")
        return 0
    found, *arguments = arguments
    return train(*read_arguments(recipe(found), arguments))


def read_arguments(
    recipe: Recipe, arguments: Sequence[str], description: str = DESCRIPTION, *, resumes: bool = True
) -> tuple[Recipe, Config, Options, trained.Record | None]:
    """The recipe, the config, the options, and the record of the run that is resumed.

    What is not on the command line comes from the resumed run, or else from the environment's preset.

    Args:
        recipe: of the algorithm.
        arguments: words of the command line.
        description: what the help begins with.
        resumes: whether `--resume` goes on with the run that `--run-dir` names; otherwise the caller sees to it.
    """
    kinds, command = (recipe.config, Options), recipe.command_line
    # An environment that is not given is told from one that is by the empty name.
    blank = {"env": ""} if "env" in settings(recipe.config) else {}
    asked = preview(grouped(kinds, recipe.name, blank), arguments, prog=command)
    given = ungrouped(asked)
    # What this command line names may be imported; what only the resumed run names may not.
    envs.trust(*(text for name, text in given.items() if name in settings(recipe.config) and isinstance(text, str)))
    resumed = None
    if (given["resume"] or given["restart"]) and resumes:
        unnamed = {name: "" for name in SUBJECTS if name in settings(recipe.config)}
        named = ungrouped(preview(grouped(kinds, recipe.name, unnamed), arguments, prog=command))
        resumed = _resumed(recipe, given, says_what=any(named[name] for name in unnamed))
    saved = {} if resumed is None else _defaults_from(resumed)
    if given["sweep"]:
        saved.pop("sweep", None)  # what is given again replaces the old sweep; tyro would append to it
    settled, source = {}, "the paper"
    if "env" in settings(recipe.config):
        own = recipe.config.__dataclass_fields__["env"].default
        env = given["env"] or saved.get("env") or recipe.env_of(given) or own
        if not (env == NONE and "dataset" in settings(recipe.config)):
            check_environment(env)
        settled, source = {"env": env}, "the defaults"
    subject, suitable = recipe.subject(given | saved | settled), {}
    if preset := recipe.preset(subject):
        suitable, source = preset.overrides | preset.options, f"the preset for {subject} ({preset.source})"
        if "pretrained" not in subject:
            named = next(name for name in ("dataset", "env", "task") if name in settings(recipe.config))
            source += f"; name another --{named} to see what suits it"
    if resumed:
        source = f"the run in {resumed.folder.path}"
    defaults = suitable | saved | settled
    text = description.format(
        title=recipe.title,
        name=recipe.name,
        source=source,
        about=f"{recipe.about}\n\n" if recipe.about else "",
        examples="\n".join(f"  {line}" for line in recipe.examples),
    )
    values = ungrouped(parse(grouped(kinds, recipe.name, defaults), arguments, prog=command, description=text))
    # Fields that no group shows are not on the command line.
    config = recipe.config(**{name: values[name] for name in settings(recipe.config) if name in values})
    options = Options(**{name: values[name] for name in settings(Options)})
    return recipe, config, options, None if options.restart else resumed


def check_environment(env: str) -> None:
    """Raises `UnknownEnvironment` where a name cannot be one of an environment. Imports no simulator."""
    # Gymnasium's registry is open, so its ids are checked where the environment is made.
    if envs.is_spec(env):
        envs.check_trusted(env, f"--env {env}")
    elif env not in envs.names() and not env.startswith("gym:"):
        raise envs.UnknownEnvironment(f"no environment {env!r}; {nearest_name(env)} (rlx envs lists them all)")


def train(
    recipe: Recipe,
    config: Config,
    options: Options,
    resumed: trained.Record | None,
    finish: Callable[[runs.RunFolder, Any], None] | None = None,
) -> int:
    """Do one run, and `finish` its folder, given the summary; returns the exit code."""
    sweep = read_sweep(options.sweep, type(config))
    plan = make_plan(config, options, sweep, resumed)
    folder = runs.RunFolder(options.run_dir or _new_folder(recipe.name, config.env_name))
    if resumed is not None and is_finished(resumed, plan, options):
        print(f"{folder.path} is finished: nothing to resume\n")
        print(conclusion(recipe, folder, runs.read_summary(folder)))
        return 0
    if options.wandb and importlib.util.find_spec("wandb") is None:
        raise CommandError("--wandb needs its package: pip install 'rlx[wandb]'")
    mesh_shape = read_mesh(options.mesh)
    seeds = range(plan["first_seed"], plan["first_seed"] + plan["seeds"])
    recipe.check_seeds(config, seeds)
    # `fit` checks the same; here it costs no import of a simulator.
    lock.refuse_if_held(folder.path)
    if options.restart:
        folder.check()
    else:
        runs.check_folder(folder, plan, resume=options.resume, allow_changes=options.allow_changes)

    if resumed is not None and config.env_name.startswith("gym:"):
        warnings.warn(
            f"{config.env_name} runs on the host, and its episodes ended with the process that ran them: new ones "
            "start here, so this run goes on, but not as it would have uninterrupted",
            stacklevel=2,
        )
    prepare_jax(options, plan["seeds"] * math.prod(map(len, sweep.values())))
    if resumed is not None and options.allow_changes:
        check_changes(resumed, trained.Record(folder, recipe, config, plan))
    import jax

    from rlx.training.fit import fit
    from rlx.training.processes import by_first_process
    from rlx.training.sharding import make_mesh

    settings_swept = [dict(zip(sweep, values)) for values in itertools.product(*sweep.values())]
    members = [(setting, seed) for setting in settings_swept for seed in seeds]
    base = hyperparameters(config)
    values = {
        name: [setting.get(name, base.get(name)) for setting, _ in members] for name in dict.fromkeys([*base, *sweep])
    }
    record = {"format": runs.FORMAT, "algorithm": recipe.name, "env": config.env_name, "config": plan}
    record["options"] = {name: getattr(options, name) for name in REMEMBERED}
    num_reports = plan["num_updates"] // plan["updates_per_report"]
    first_process = jax.process_index() == 0
    resume_command = f"{recipe.command_line} --resume --run-dir {shlex.quote(str(folder.path))}"
    if first_process and not options.quiet:
        print(opening(recipe, config, plan, len(settings_swept), folder), flush=True)

    with contextlib.ExitStack() as stack:
        stack.enter_context(traceback_in(folder.path))
        claim = lambda: stack.enter_context(claimed(folder, restart=options.restart))
        if (aside := by_first_process(claim)) is not None and not options.quiet:
            print(f"  the run of before is in {aside} now", flush=True)
        try:
            fitted = fit(
                make_build(recipe, config, plan["num_updates"], num_runs=len(members)),
                seeds=[seed for _, seed in members],
                hyperparameters=values,
                swept=tuple(sweep),
                choices=getattr(config, "choices", None),
                num_envs=config.num_envs_per_seed,
                steps_per_update=config.steps_per_update,
                initial_steps=config.initial_steps,
                steps_name=config.steps_name,
                num_updates=plan["num_updates"],
                updates_per_report=plan["updates_per_report"],
                reports_per_evaluation=max(1, num_reports // options.evaluations),
                evaluate_start=recipe.evaluate_start,
                reports_per_checkpoint=max(1, num_reports // options.checkpoints),
                keep_checkpoints=options.keep_checkpoints,
                replay_in_checkpoints=options.replay_in_checkpoints,
                run_dir=folder.path,
                config=record,
                resume=options.resume and not options.restart,
                allow_changes=options.allow_changes,
                mesh=make_mesh(len(members), config.num_envs_per_seed, **mesh_shape),
                batching=options.batching,
                make_writers=lambda resume_step: _wandb(options, folder, record) if options.wandb else (),
                quiet=options.quiet,
            )
        except FloatingPointError as error:
            if first_process and not options.no_report:
                write_pages(folder)
            print(f"rlx: error: {one_line(error)}; {folder.path} holds what was measured", file=sys.stderr)
            return 1
        except DiskError as error:
            again = f"go on with: {resume_command}" if folder.metrics.exists() else "repeat the command"
            raise CommandError(f"{error}, then {again}") from error
        if fitted.stopped_by is not None:
            if first_process:
                print(
                    f"stopped by {fitted.stopped_by.name}; nothing is lost. Go on with: {resume_command}",
                    flush=True,
                )
            return 128 + fitted.stopped_by
        write_artifacts(recipe, config, folder, options, fitted)
        if first_process:
            if finish is not None:
                finish(folder, fitted.summary)
            print(folder.path if options.quiet else conclusion(recipe, folder, fitted.summary), flush=True)
        return 0


def make_plan(
    config: Config, options: Options, sweep: dict[str, list[float]], resumed: trained.Record | None
) -> dict[str, Any]:
    """Everything that decides a run's numbers, as `config.json` keeps it."""
    # A run's reports stay where they were: its checkpoints lie on them.
    started = {} if resumed is None else resumed.plan
    updates_per_report = started.get("updates_per_report") or report_length(config, options.reports)
    return (
        dataclasses.asdict(config)
        | plan_options(options)
        | {
            "sweep": sweep,
            "num_updates": updates_per_report * math.ceil(config.num_updates / updates_per_report),
            "updates_per_report": updates_per_report,
        }
    )


def report_length(config: Config, reports: int) -> int:
    """Updates between two reports, for about so many reports; with several phases one that divides each of them."""
    most = max(1, config.num_updates // reports)
    if len(config.phases) == 1:
        return most
    common = math.gcd(*config.phases)
    return max(count for count in range(1, min(most, common) + 1) if common % count == 0)


def is_finished(resumed: trained.Record, plan: dict[str, Any], options: Options) -> bool:
    """Whether nothing is left to do: trained to the end with this very plan, and its pages written."""
    return (
        runs.read_summary(resumed.folder) is not None
        and not runs.config_changes(resumed.plan, plan)
        and (resumed.folder.report.exists() or options.no_report)
    )


def check_changes(saved: trained.Record, changed: trained.Record) -> None:
    """Raises `CommandError` where a changed config could not go on from the checkpoints there are."""
    differences = "; ".join(runs.config_changes(saved.plan, changed.plan))
    if saved.plan["reports"] != changed.plan["reports"]:
        raise CommandError("--reports cannot change in a run that has started")
    if not differences:
        return
    import jax

    shapes = [
        [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(trained.state_template(record)[0])]
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


def _resumed(recipe: Recipe, given: dict[str, Any], *, says_what: bool) -> trained.Record | None:
    """The record of the run that is to be resumed, or begun anew; None where there is none to go by.

    Args:
        recipe: that the command names.
        given: what the command line says.
        says_what: whether it says what to train on, and so is enough to begin with.
    """
    run_dir, flag = given["run_dir"], "--restart" if given["restart"] else "--resume"
    if run_dir is None:
        newest = trained.newest_runs()
        raise CommandError(f"{flag} needs --run-dir" + (f"; the newest runs are {', '.join(newest)}" if newest else ""))
    is_run = runs.RunFolder(run_dir).config.exists()
    # A job that is started again after it died early, or for the first time, uses one command for both.
    if not is_run and says_what:
        warnings.warn(f"{run_dir} holds no run yet: it starts here", stacklevel=2)
        return None
    try:
        record = trained.read(run_dir, trust_config=given["trust_config"])
    except runs.RunError as error:
        if says_what and given["restart"]:
            return None
        if is_run:
            raise
        raise CommandError(f"{error}; where the command says what to train on, it starts there") from error
    if record.recipe.name != recipe.name:
        raise CommandError(f"{run_dir} is a run of {record.recipe.name}: {record.recipe.command_line} goes on with it")
    return record


def _defaults_from(record: trained.Record) -> dict[str, Any]:
    known = settings(Options)
    options = {name: value for name, value in record.plan.items() if name in known and name != "sweep"}
    others = runs.read_json(record.folder.config).get("options")
    if isinstance(others, dict):
        options |= {name: others[name] for name in REMEMBERED if isinstance(others.get(name), int)}
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
