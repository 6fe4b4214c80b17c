"""The options of `rlx train` beside its algorithm's config: flags, groups of the help, forms of values."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import tyro

from rlx.cli.errors import CommandError
from rlx.cli.parsing import number
from rlx.envs.registry import nearest

Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""A flag that is off unless it is given."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How a run is done, apart from its algorithm's config."""

    seeds: int = 8
    """How many seeds; they train side by side in one program."""
    first_seed: int = 0
    """The first of them; the others follow. A seed trains alike in whatever company."""
    sweep: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=VALUE,VALUE,… of a hyperparameter; repeat for the product. Each setting trains with every seed."""
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
    """Folder of compiled programs, for faster starts: a path, auto (the user's cache) or None."""
    reports: int = 20
    """Rows of metrics.parquet per seed. Set when a run starts."""
    evaluations: int = 10
    """Evaluations in a run."""
    no_report: Switch = False
    """Write no curve.png and no report.html at the end."""
    no_rollout: Switch = False
    """Do not render the best seed to rollout.gif at the end."""
    quiet: Switch = False
    """Print only warnings, errors and the folder."""
    wandb: Switch = False
    """Log to Weights & Biases too."""
    wandb_project: str = "rlx"
    """Project there."""
    mesh: str | None = None
    """Layout of several devices, such as seed=4,env=2; None spreads seeds first, on a CPU over its cores."""
    distributed: Switch = False
    """One process of several that train together; start them all alike."""
    coordinator: str | None = None
    """HOST:PORT of the first process; None asks the environment (SLURM, MPI, TPU)."""
    num_processes: int | None = None
    """Processes in all; None asks the environment."""
    process_id: int | None = None
    """Number of this process; None asks the environment."""


GROUPS = {
    "environment": ("dataset", "env", "task", "backend", "max_episode_steps", "action_repeat"),
    "scale": (
        "total_steps",
        "num_envs",
        "unroll_length",
        "updates_per_step",
        "batch_size",
        "buffer_size",
        "num_prompts",
        "group_size",
        "oversample",
        "replayed",
        "replay_size",
        "warmup_steps",
        "warmup_policy",
        "seeds",
        "first_seed",
        "sweep",
    ),
    "algorithm": (),
    "network": (
        "policy",
        "hidden_sizes",
        "critic_hidden_sizes",
        "num_critics",
        "shared_torso",
        "activation",
        "layer_norm",
        "critic_layer_norm",
        "initialization",
        "warm_start",
        "pretrained",
        "lora_rank",
        "lora_alpha",
        "lora_matrices",
        "hidden_size",
        "num_layers",
        "num_heads",
        "dtype",
        "remat",
        "std",
        "initial_std",
    ),
    "folder": ("run_dir", "resume", "allow_changes", "checkpoints", "keep_checkpoints", "compilation_cache"),
    "reporting": (
        "reports",
        "evaluations",
        "eval_episodes",
        "max_eval_steps",
        "eval_prompts",
        "eval_samples",
        "no_report",
        "no_rollout",
        "quiet",
        "wandb",
        "wandb_project",
    ),
    "device": ("mesh", "distributed", "coordinator", "num_processes", "process_id"),
}

PLAN_OPTIONS = ("seeds", "first_seed", "sweep", "reports", "evaluations")
"""Options that decide which numbers a run gives, and so belong to its config."""


COUNTS = (
    *("total_steps", "num_envs", "unroll_length", "updates_per_step", "batch_size", "buffer_size"),
    *("num_prompts", "group_size", "oversample", "epochs", "minibatches", "eval_prompts", "eval_samples"),
)
"""Fields of an algorithm's config that must be positive."""


def check_counts(config: Any, options: Options) -> None:
    for name, value in (
        *((field.name, getattr(config, field.name)) for field in dataclasses.fields(config) if field.name in COUNTS),
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
    if not options.distributed and (options.coordinator, options.num_processes, options.process_id) != (None,) * 3:
        raise CommandError("--coordinator, --num-processes and --process-id need --distributed")


def read_sweep(words: Sequence[str], module: ModuleType) -> dict[str, list[float]]:
    """`["learning_rate=1e-4,3e-4"]` as `{"learning_rate": [1e-4, 3e-4]}`.

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
    """`"seed=4,env=2"` as `{"seed": 4, "env": 2}`.

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


def compilation_cache(folder: str | None) -> Path | None:
    """Where compiled programs are kept: the folder named, the user's cache for `auto`, None for none."""
    if folder != "auto":
        return None if folder is None else Path(folder).expanduser()
    named = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    return Path(named) if named else user_cache() / "xla"


def user_cache() -> Path:
    """Where things are kept that could be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlx"
