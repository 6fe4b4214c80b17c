"""What the command line notes about a run in `config.json`, and how it finds its way back from there."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from rlx.cli.errors import CommandError
from rlx.envs.registry import nearest
from rlx.training.runs import RunFolder, read_json

OFFLINE = (
    *("bc", "td3_bc", "rebrac", "a2pr", "prdc", "iql", "awac", "odice", "cql", "cal_ql", "sac_n", "edac"),
    "decision_transformer",
)
"""Algorithms that learn from a dataset."""

ALGORITHMS = {
    "ppo": "rlx.recipes.ppo",
    "sac": "rlx.recipes.sac",
    "td3": "rlx.recipes.td3",
    **{name: "rlx.recipes.offline_learners" for name in OFFLINE},
    "grpo": "rlx.recipes.grpo",
}
"""Algorithm -> module that has `Config`, `SWEEPABLE`, `hyperparameters`, `make_environment`,
`make_learner` and `make_build`. Its config has `env` (a field, or a property where tasks are
named otherwise), `num_envs`, `steps_per_update` and `num_updates`, and may have `initial_steps` and
`steps_name`, as `rlx.training.fit` takes them. A module of several algorithms has `LEARNERS` instead, algorithm
-> such a namespace."""

ABLATIONS = {"ppo": "rlx.recipes.ablation"}
"""Algorithm -> module of the same kind whose config compares variants of it."""

ABLATION = "_ablation"
"""What the record of an ablation has after the algorithm's name."""


class Record(NamedTuple):
    """A saved run.

    Attributes:
        folder: where it is.
        algorithm: its name.
        module: the algorithm's module.
        config: the algorithm's config.
        plan: everything that `config.json` holds under `config`.
    """

    folder: RunFolder
    algorithm: str
    module: ModuleType
    config: Any
    plan: dict[str, Any]


def module_of(algorithm: str) -> ModuleType:
    """The module of an algorithm.

    Raises:
        CommandError: there is no such algorithm.
    """
    name = algorithm.removesuffix(ABLATION)
    modules = ALGORITHMS if name == algorithm else ABLATIONS
    if name not in modules:
        raise CommandError(f"no algorithm {name!r}; {nearest(name, modules)}")
    module = importlib.import_module(modules[name])
    return getattr(module, "LEARNERS", {}).get(name, module)


def command_of(algorithm: str) -> str:
    """The command that trains an algorithm, or compares its variants."""
    name = algorithm.removesuffix(ABLATION)
    return f"rlx train {name}" if name == algorithm else f"rlx ablate {name}"


def read(run_dir: str | Path) -> Record:
    """Read a run folder's record.

    Raises:
        CommandError: it is not a run folder.
        RunError: its `config.json` is unreadable.
    """
    folder = RunFolder(run_dir)
    if not folder.path.is_dir():
        raise CommandError(f"no run folder {str(run_dir)!r}; {_nearby(folder.path)}")
    saved = read_json(folder.config)
    if not isinstance(saved, dict) or not isinstance(saved.get("config"), dict) or "algorithm" not in saved:
        raise CommandError(f"{folder.config} is not the config of a run of rlx train")
    module = module_of(saved["algorithm"])
    return Record(folder, saved["algorithm"], module, config_from(module, saved["config"]), saved["config"])


def config_from(module: ModuleType, values: Mapping[str, Any]) -> Any:
    """An algorithm's config out of the JSON that it was saved as; other names in it are passed over."""
    names = {field.name for field in dataclasses.fields(module.Config)}
    return module.Config(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items() if name in names}
    )


def state_template(record: Record) -> Any:
    """Shapes of the training state that a run's checkpoints hold, all on this machine's first device."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    plan, sweep = record.plan, record.plan["sweep"]
    count = plan["seeds"] * int(np.prod([len(values) for values in sweep.values()]))
    build = record.module.make_build(record.config, plan["num_updates"])
    names = dict.fromkeys([*record.module.hyperparameters(record.config), *sweep])
    shapes = jax.eval_shape(
        jax.vmap(lambda settings, seed: build(settings).init(jax.random.key(seed))),
        {name: jnp.zeros(count) for name in names},
        jnp.zeros(count, jnp.int32),
    )
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), shapes)


def newest_runs(parent: Path = Path("runs"), count: int = 3) -> list[str]:
    """The run folders in a folder, newest first."""
    configs = sorted(parent.glob("*/config.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [str(path.parent) for path in configs[:count]]


def _nearby(path: Path) -> str:
    siblings = [str(config.parent) for config in path.parent.glob("*/config.json")]
    runs = siblings or newest_runs()
    return nearest(str(path), sorted(runs)) if runs else "there are no runs yet: rlx train ppo makes one"
