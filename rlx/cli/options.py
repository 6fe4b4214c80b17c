"""The options of `rlx train` beside its algorithm's config, and forms of values."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from rlx.cli.errors import CommandError
from rlx.cli.parsing import number
from rlx.envs.registry import nearest
from rlx.recipes.settings import (
    COUNT,
    NOT_NEGATIVE,
    SettingError,
    check,
    checked,
    setting,
    settings,
    swept_names,
    type_hints,
)

Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""A flag that is off unless it is given."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How a run is done, apart from its algorithm's config."""

    seeds: int = setting(8, "How many seeds; they train side by side in one program.", group="scale", within=COUNT)
    first_seed: int = setting(
        0,
        "The first seed; the others follow. A seed trains alike in whatever company.",
        group="scale",
        within="[0, 2147483647]",
    )
    sweep: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = setting(
        (),
        "NAME=VALUE,VALUE,… of a hyperparameter; repeat the flag for the product. Each setting trains with every seed.",
        group="scale",
    )
    run_dir: str | None = setting(None, "Folder of the run; None makes runs/ALGORITHM-ENV-TIME.", group="folder")
    resume: Switch = setting(
        False,
        "Go on from the newest checkpoint of --run-dir, bit for bit; flags of the first start need not be repeated.",
        group="folder",
    )
    allow_changes: Switch = setting(
        False, "Resume although flags differ from those the run was started with.", group="folder"
    )
    checkpoints: int = setting(5, "Checkpoints in a run.", group="folder", within=COUNT)
    keep_checkpoints: int = setting(2, "Newest checkpoints to keep, besides the best.", group="folder", within=COUNT)
    replay_in_checkpoints: bool = setting(
        True,
        "Whether checkpoints hold the replay of past experience. Without it they are small, and a resumed run refills "
        "the replay with random steps: it goes on, but not as it would have uninterrupted.",
        group="folder",
    )
    compilation_cache: str | None = setting(
        "auto",
        "Folder of compiled programs, for faster starts: a path, auto (the user's cache) or None.",
        group="folder",
    )
    reports: int = setting(
        20, "Rows of metrics.parquet per seed; fixed when a run starts.", group="reporting", within=COUNT
    )
    evaluations: int = setting(10, "Evaluations in a run.", group="reporting", within=COUNT)
    no_report: Switch = setting(False, "Write no curve.png and no report.html at the end.", group="reporting")
    no_rollout: Switch = setting(False, "Do not render the best seed to rollout.gif at the end.", group="reporting")
    quiet: Switch = setting(False, "Print only warnings, errors and the folder.", group="reporting")
    wandb: Switch = setting(False, "Log to Weights & Biases too.", group="reporting")
    wandb_project: str = setting("rlx", "Project in Weights & Biases.", group="reporting")
    mesh: str | None = setting(
        None,
        "Layout of several devices, such as seed=4,env=2; None spreads seeds first, on a CPU over its cores.",
        group="device",
    )
    distributed: Switch = setting(
        False, "One process of several that train together; start them all alike.", group="device"
    )
    coordinator: str | None = setting(
        None, "HOST:PORT of the first process; None asks the environment (SLURM, MPI, TPU).", group="device"
    )
    num_processes: int | None = setting(
        None, "Processes in all; None asks the environment (SLURM, MPI, TPU).", group="device", within=COUNT
    )
    process_id: int | None = setting(
        None,
        "Number of this process; None asks the environment (SLURM, MPI, TPU).",
        group="device",
        within=NOT_NEGATIVE,
    )

    def __post_init__(self):
        check(self)
        if self.distributed and self.run_dir is None:
            raise CommandError("--distributed needs --run-dir, the same for every process")
        if not self.distributed and (self.coordinator, self.num_processes, self.process_id) != (None,) * 3:
            raise CommandError("--coordinator, --num-processes and --process-id need --distributed")


PLAN_OPTIONS = ("seeds", "first_seed", "sweep", "reports", "evaluations", "replay_in_checkpoints")
"""Options that decide which numbers a run gives, and so belong to its config."""


def read_sweep(words: Sequence[str], config: type) -> dict[str, list[float]]:
    """`["learning_rate=1e-4,3e-4"]` as `{"learning_rate": [1e-4, 3e-4]}`.

    Args:
        words: of the command line.
        config: class of the algorithm's config.

    Raises:
        CommandError: not of that form, or a name that cannot be swept.
        SettingError: a value out of the name's range.
    """
    sweep, known = {}, swept_names(config)
    for word in words:
        name, equals, values = word.partition("=")
        name = name.strip().replace("-", "_")
        values = [value for value in values.split(",") if value.strip()]
        if not equals or not values:
            raise CommandError(f"--sweep takes NAME=VALUE,VALUE,…, got {word!r}")
        if name not in known:
            if name in settings(config):
                raise CommandError(f"{name} cannot be swept, it shapes the program; these can: {', '.join(known)}")
            raise CommandError(f"no hyperparameter {name!r} to sweep; {nearest(name, known)}")
        if name in sweep:
            raise CommandError(f"--sweep names {name} twice; give all its values at once")
        hint, said = type_hints(config)[name], settings(config)[name]
        try:
            sweep[name] = [checked(name, number(value), hint, said) for value in values]
        except SettingError:
            raise
        except ValueError as error:
            raise CommandError(f"--sweep {name}: {error}") from None
        if len(set(sweep[name])) < len(sweep[name]):
            raise CommandError(f"--sweep {name} names a value twice, got {word!r}")
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


def plan_options(options: Options) -> dict[str, Any]:
    """The options that belong to a run's config."""
    return {name: getattr(options, name) for name in PLAN_OPTIONS}
