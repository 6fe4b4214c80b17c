"""The options of `rlx train` beside its algorithm's config, and forms of values."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

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

MOST_RUNS = 100_000
"""Most runs of one command, seeds times settings."""

Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""A flag that is off unless it is given."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How a run is done, apart from its algorithm's config."""

    seeds: int = setting(8, "How many seeds; they share one compilation.", group="scale", within="[1, 1e5]")
    first_seed: int = setting(
        0,
        "The first seed; the others follow. On a CPU a seed's numbers do not depend on its company; see --batching.",
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
    restart: Switch = setting(
        False,
        "Move the run in --run-dir aside, to a free name beside it, and begin it anew; flags need not be repeated.",
        group="folder",
    )
    trust_config: Switch = setting(
        False,
        "Import whatever code of a user's own the config of the resumed run names. It runs with your rights: only for "
        "a run that you trust.",
        group="folder",
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
    batching: Literal["auto", "map", "vmap"] = setting(
        "auto",
        "How seeds and settings go through the program. map: one after the other, on a CPU as many at a time as there "
        "are devices; there the numbers of each are, bit for bit, those it gives alone. vmap: all at once, as an axis "
        "of every array, which can be faster for small runs; but then rounding, and with it the whole course of a run, "
        "depends on how many there are. auto: map on a CPU, vmap on an accelerator. Runs of gym:… environments and "
        "runs whose environments lie on several devices (env of --mesh) are always batched by vmap.",
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
        if self.first_seed + self.seeds > 2**31:
            raise SettingError("first_seed", f"must leave the last of {self.seeds} seeds below 2147483648")
        if self.run_dir == "":
            raise SettingError("run_dir", "must name a folder, got an empty name")
        num_runs = self.seeds * math.prod(len(word.split(",")) for word in self.sweep)
        if num_runs > MOST_RUNS:
            raise SettingError("sweep", f"and --seeds {self.seeds} must make at most {MOST_RUNS} runs, not {num_runs}")
        for name in ("evaluations", "checkpoints"):
            # Who only asks for few reports leaves it to them how often the others come.
            asked = getattr(self, name)
            if asked > self.reports and asked != type(self).__dataclass_fields__[name].default:
                raise SettingError(name, f"must be at most --reports {self.reports}, since each is at one, got {asked}")
        if self.distributed and self.run_dir is None:
            raise CommandError("--distributed needs --run-dir, the same for every process")
        if not self.distributed and (self.coordinator, self.num_processes, self.process_id) != (None,) * 3:
            raise CommandError("--coordinator, --num-processes and --process-id need --distributed")


PLAN_OPTIONS = ("seeds", "first_seed", "sweep", "reports", "evaluations", "replay_in_checkpoints")
"""Options that decide which numbers a run gives, and so belong to its config."""

REMEMBERED = ("checkpoints", "keep_checkpoints")
"""Options that a resumed run keeps, though other ones give the same numbers."""


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
        # Programs compute in single precision, in which numbers that are written differently may be the same.
        if len({struct.pack("f", value) for value in sweep[name]}) < len(sweep[name]):
            raise CommandError(f"--sweep {name} names a value twice, got {word!r}")
    return sweep


def read_mesh(text: str | None) -> dict[str, int]:
    """`"seed=4,env=2"` as `{"seed": 4, "env": 2}`.

    Raises:
        CommandError: not of that form.
    """
    mesh = {}
    for word in () if text is None else text.split(","):
        axis, count = (part.strip() for part in (*word.split("=", 1), "")[:2])
        if axis not in ("seed", "env") or axis in mesh or not re.fullmatch("[0-9]{1,6}", count) or int(count) < 1:
            raise CommandError(f"--mesh takes seed=N,env=M with numbers of devices, each axis once, got {text!r:.80}")
        mesh[axis] = int(count)
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
    # What is chosen by the device is not of the plan: a default adds nothing that an older run lacks.
    batching = {} if options.batching == "auto" else {"batching": options.batching}
    return {name: getattr(options, name) for name in PLAN_OPTIONS} | batching
