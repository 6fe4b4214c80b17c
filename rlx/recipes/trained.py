"""What a run folder holds: its record, the choice of a seed and a checkpoint, and a policy to call."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlx import envs
from rlx.envs.registry import nearest
from rlx.recipes.plan import check_plan
from rlx.recipes.settings import hyperparameters
from rlx.recipes.wiring import Config, Recipe, make_build
from rlx.training import reading
from rlx.training.metrics import MetricsTable, hyperparameter_names, setting_label
from rlx.training.runs import FORMAT, RunError, RunFolder


class Record(NamedTuple):
    """A saved run.

    Attributes:
        folder: where it is.
        recipe: of its algorithm.
        config: the algorithm's config.
        plan: everything that `config.json` holds under `config`.
    """

    folder: RunFolder
    recipe: Recipe
    config: Config
    plan: dict[str, Any]

    @property
    def algorithm(self) -> str:
        """The algorithm's name."""
        return self.recipe.name


def read(run_dir: str | Path, *, trust_config: bool = False) -> Record:
    """Read a run folder's record. Nothing that it names is imported, now or when its environment is made.

    Args:
        run_dir: the folder.
        trust_config: whether the code of your own that the config names, `module:function`, may be imported. It runs
            with your rights: only for a run that you trust.

    Raises:
        RunError: it is not a run folder, or its `config.json` is unreadable or of a run that this release cannot read.
    """
    from rlx.recipes import recipe

    folder = RunFolder(run_dir)
    if not folder.path.is_dir():
        raise RunError(f"no run folder {str(run_dir)!r}; {_nearby(folder.path)}")
    if not folder.config.exists():
        raise RunError(f"{folder.path} is not a run folder: it has no {folder.config.name}")
    saved = reading.json_object(folder.config)
    plan = saved.get("config")
    if not isinstance(plan, dict) or not isinstance(saved.get("algorithm"), str):
        raise RunError(f"{folder.config} is not the config of a run of rlx train")
    if (format_ := saved.get("format")) != FORMAT:
        when = "a later" if isinstance(format_, int) and format_ > FORMAT else "an earlier"
        raise RunError(
            f"{folder.path} is a run of {when} rlx, whose run folders this release cannot read: "
            "train anew, or use the release that made it"
        )
    try:
        found = recipe(saved["algorithm"])
        check_plan(plan, found.config)
        record = Record(folder, found, config_from(found, plan), plan)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:  # values that no config can have
        raise RunError(f"{folder.config}: {' '.join(str(error).split())[:300]}") from None
    if trust_config:
        envs.trust(*(value for value in plan.values() if isinstance(value, str)))
    return record


def read_metrics(record: Record) -> MetricsTable:
    """The metrics of a run, with a row of each of its runs at every report.

    Raises:
        RunError: there are none yet, or they are unreadable or of another run.
    """
    path, sweep = record.folder.metrics, record.plan["sweep"]
    table = reading.metrics(path)
    if not len(table):
        raise RunError(f"{path} has no rows yet: the run has not come to its first report")
    names = ["seed", *sweep, "update"]
    if list(table.columns)[: len(names)] != names:
        raise RunError(f"{path} must begin with the columns {', '.join(names)}; is it the metrics of another run?")
    for name in names:
        if (
            table[name].dtype.kind not in "iuf"
            or not np.isfinite(np.ma.filled(table[name].astype(float), np.nan)).all()
        ):
            raise RunError(f"{path}: column {name!r} must hold a number in every row")
    if (count := len(members(table))) != num_runs(record):
        raise RunError(f"{path} holds {count} runs, {record.folder.config.name} says {num_runs(record)}")
    return table


def num_runs(record: Record) -> int:
    """How many runs lie side by side: seeds times settings."""
    return record.plan["seeds"] * math.prod(len(values) for values in record.plan["sweep"].values())


def config_from(recipe: Recipe, values: Mapping[str, Any]) -> Config:
    """An algorithm's config out of the JSON that it was saved as; what the run's plan holds beside it is passed over.

    Raises:
        SettingError: a value that a field cannot have.
    """
    names = [field.name for field in dataclasses.fields(recipe.config) if field.name in values]
    return recipe.config(
        **{name: tuple(values[name]) if isinstance(values[name], list) else values[name] for name in names}
    )


def state_template(record: Record) -> Any:
    """Shapes of a run's training state, all on this machine's first device, and its layout."""
    import jax
    import jax.numpy as jnp

    count = num_runs(record)
    build = make_build(record.recipe, record.config, record.plan["num_updates"])
    names = dict.fromkeys([*hyperparameters(record.config), *record.plan["sweep"]])
    layouts = []

    def init(values, seed):
        program = build(values)
        layouts.append(program.layout)
        return program.init(jax.random.key(seed))

    values = {name: jax.ShapeDtypeStruct((count,), jnp.float32) for name in names}
    shapes = jax.eval_shape(jax.vmap(init), values, jax.ShapeDtypeStruct((count,), jnp.int32))
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), shapes), layouts[-1]


def kept_parts(record: Record, layout: Any) -> Any:
    """Tree prefix of the state: False at what the run's checkpoints leave out."""
    import jax

    from rlx.training.program import REPLAY

    replay = record.plan.get("replay_in_checkpoints", True)
    return jax.tree.map(lambda kind: replay or kind != REPLAY, layout)


class Member(NamedTuple):
    """One of the runs that a run folder holds side by side."""

    index: int
    seed: int
    setting: dict[str, float]


def choose_member(table: MetricsTable, *, seed: int | None = None, setting: Mapping[str, float] = {}) -> Member:
    """The run with this seed and this setting; where they leave a choice, the one that ended best.

    Raises:
        RunError: there is none.
    """
    swept = hyperparameter_names(table)
    found = members(table)
    for name in setting:
        if name not in swept:
            raise RunError(f"--setting: {name} was not swept in this run; {', '.join(swept) or 'nothing'} was")
    matching = [
        member
        for member in found
        if seed in (None, member.seed)
        and all(np.isclose(member.setting[name], setting[name], rtol=1e-6, atol=0) for name in setting)
    ]
    if not matching:
        seeds = sorted({member.seed for member in found})
        settings = dict.fromkeys(setting_label(member.setting, table.choices) for member in found if member.setting)
        known = f"its seeds are {', '.join(map(str, seeds))}" + (
            f"; its settings {'; '.join(settings)}" if settings else ""
        )
        wanted = ", ".join(
            filter(None, (f"seed {seed}" if seed is not None else "", setting_label(setting, table.choices)))
        )
        raise RunError(f"no {wanted} in this run; {known}")
    scores = np.array([_last_return(table, member.index, len(found)) for member in matching])
    return matching[int(np.argmax(np.where(np.isfinite(scores), scores, -np.inf)))]


def members(table: MetricsTable) -> list[Member]:
    """All runs of a folder, in their order."""
    swept = hyperparameter_names(table)
    first = np.asarray(table["update"]) == np.min(table["update"])
    rows = zip(*(table[name][first] for name in ("seed", *swept)))
    return [Member(index, int(row[0]), dict(zip(swept, map(float, row[1:])))) for index, row in enumerate(rows)]


def choose_checkpoint(steps: Sequence[int], table: MetricsTable, member: Member, wanted: str | int) -> int:
    """The number of the checkpoint that `wanted` means: `best`, `latest` or a number.

    Raises:
        RunError: there is no such checkpoint.
    """
    steps = sorted(steps)
    if wanted == "latest":
        return steps[-1]
    if wanted == "best":
        scores = [_return_at(table, member, step) for step in steps]
        # The newest of equals: argmax takes the first.
        return steps[::-1][int(np.argmax(scores[::-1]))]
    by_name = {str(step): step for step in steps}
    if str(wanted) not in by_name:
        word = str(wanted)[:40]
        shown = word if word.isascii() and word.isdigit() else repr(word)
        raise RunError(f"no checkpoint {shown}; there are best, latest, {', '.join(by_name)}")
    return by_name[str(wanted)]


def restore(record: Record, table: MetricsTable, member: Member, checkpoint: str | int) -> tuple[Any, int]:
    """The learner's state of a member as a checkpoint has it, and the number of the checkpoint's update."""
    import jax

    state, update = restore_all(record, table, member, checkpoint)
    return jax.tree.map(lambda x: x[member.index], state.learner), update


def restore_all(record: Record, table: MetricsTable, member: Member, checkpoint: str | int) -> tuple[Any, int]:
    """The state of all members, `[run, ...]`, as the checkpoint that is chosen for one of them has it.

    Where the best or the latest checkpoint cannot be read, the newest that can be takes its place, with a warning.

    Raises:
        RunError: there is no such checkpoint.
        CheckpointError: it cannot be read, nor could another take its place.
    """
    from rlx.training import checkpoints

    folder = record.folder.checkpoints
    steps = checkpoints.updates(folder)
    if not steps:
        raise RunError(f"{record.folder.path} has no checkpoint yet")
    wanted = choose_checkpoint(steps, table, member, checkpoint)
    others = [step for step in reversed(steps) if step != wanted] if checkpoint in ("best", "latest") else []
    template, layout = state_template(record)
    return checkpoints.restore(folder, template, update=[wanted, *others], kept=kept_parts(record, layout))


@dataclasses.dataclass(frozen=True)
class TrainedPolicy:
    """A policy out of a run folder: `policy(observation)` is its action.

    Attributes:
        params: its parameters; of all seeds, with a leading axis `[seed]`.
        seed: which seed it is, or all of them.
        update: the checkpoint's number.
        learner: the algorithm.
        state: the learner's state, of which `params` are a part.
        environment: what it was trained in, made anew.
    """

    params: Any
    seed: int | tuple[int, ...]
    update: int
    learner: Any
    state: Any
    environment: Any

    def __call__(self, observation: Any, memory: Any = None, *, key: Any = None) -> Any:
        """The action for an observation, or actions for a batch of them.

        Args:
            observation: as the environment gives it, with any number of leading axes.
            memory: of a recurrent policy, what `begin` or the last call gave; the result is then `(action, memory)`.
            key: a random key, to explore; None takes the deterministic policy.

        Returns:
            The action, in the environment's units; of all seeds, with a leading axis `[seed]`.
        """
        import jax

        from rlx.algorithms.learner import policy_of

        policy = policy_of(self.learner)
        observation, shape = self._as_arrays(observation)
        count = int(np.prod(shape))
        flat = jax.tree.map(lambda x: x.reshape(count, *x.shape[len(shape) :]), observation)

        def act(state, memory):
            if key is None:
                return policy.mode(state, flat, memory)
            action, _, memory = policy.act(state, flat, key, memory)
            return action, memory

        memory = self.begin(count) if memory is None else memory
        if isinstance(self.seed, int):
            action, memory = act(self.state, memory)
            action = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), action)
        else:
            action, memory = jax.vmap(act, in_axes=(0, None if memory is None else 0))(self.state, memory)
            action = jax.tree.map(lambda x: x.reshape(len(self.seed), *shape, *x.shape[2:]), action)
        return action if self.learner.memory is None else (action, memory)

    def begin(self, count: int = 1) -> Any:
        """What a recurrent policy remembers at the beginning of so many episodes; None without memory."""
        import jax
        import jax.numpy as jnp

        from rlx.algorithms.learner import policy_of

        memory = policy_of(self.learner).begin(count)
        if isinstance(self.seed, int):
            return memory
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (len(self.seed), *x.shape)), memory)

    def _as_arrays(self, observation: Any) -> tuple[Any, tuple[int, ...]]:
        """An observation as arrays of the environment's structure, and its leading axes before those of its space."""
        import jax
        import jax.numpy as jnp

        _, example = jax.eval_shape(self.environment.reset, jax.random.key(0))
        # Numbers in a list are an array where the environment has one.
        arrays = jax.tree.map(lambda of_one, x: jnp.asarray(x, of_one.dtype), example, observation)
        leaf, of_one = jax.tree.leaves(arrays)[0], jax.tree.leaves(example)[0]
        split = leaf.ndim - of_one.ndim
        if split < 0 or leaf.shape[split:] != of_one.shape:
            raise ValueError(f"observation must end in the shape {of_one.shape}, got {leaf.shape}")
        return arrays, leaf.shape[:split]


def load(
    run_dir: str | Path,
    *,
    checkpoint: str | int = "best",
    seed: int | str | None = None,
    setting: Mapping[str, float] = {},
    trust_config: bool = False,
) -> TrainedPolicy:
    """A trained policy out of a run folder.

    Args:
        run_dir: the folder.
        checkpoint: `"best"` (of the seed, among those kept), `"latest"`, or the number of an update.
        seed: which seed; None takes the best, `"all"` all of them side by side.
        setting: which setting of a sweep, such as `{"learning_rate": 1e-3}`; of those left, the best.
        trust_config: whether the code of your own that the run's config names, such as an environment
            `module:function`, may be imported. It runs with your rights: only for a run that you trust.

    Returns:
        A `TrainedPolicy`: `policy(observation)` is an action, `policy.params` are the parameters.

    Raises:
        RunError: no such run, seed, setting or checkpoint; an algorithm that does not act.
    """
    import jax

    record = read(run_dir, trust_config=trust_config)
    if record.recipe.watch != "episodes":
        raise RunError(f"{run_dir} is a run of {record.algorithm}, which acts in no environment")
    table = read_metrics(record)
    member = choose_member(table, seed=None if seed == "all" else seed, setting=setting)
    state, update = restore_all(record, table, member, checkpoint)
    environment = record.recipe.make_environment(record.config)
    learner = make_learner(record, environment)
    if seed == "all":
        wanted = [other for other in members(table) if other.setting == member.setting]
        index, seeds = np.array([other.index for other in wanted]), tuple(other.seed for other in wanted)
    else:
        index, seeds = member.index, member.seed
    learner_state = jax.tree.map(lambda x: x[index], state.learner)
    return TrainedPolicy(learner_state.params, seeds, update, learner, learner_state, environment)


def make_learner(record: Record, environment: Any) -> Any:
    """The learner of a saved run."""
    recipe, config = record.recipe, record.config
    return recipe.make_learner(config, environment, num_updates=record.plan["num_updates"], data=recipe.load(config))


def newest_runs(parent: Path = Path("runs"), count: int = 3) -> list[str]:
    """The run folders in a folder, newest first."""
    configs = [path for path in parent.glob("*/config.json") if path.is_file()]
    newest = sorted(configs, key=lambda path: path.stat().st_mtime, reverse=True)
    return [str(path.parent) for path in newest[:count]]


def _nearby(path: Path) -> str:
    siblings = [str(config.parent) for config in path.parent.glob("*/config.json")]
    runs = siblings or newest_runs()
    return nearest(str(path), sorted(runs)) if runs else "there are no runs yet: rlx train ppo makes one"


def _last_return(table: MetricsTable, index: int, count: int) -> float:
    """A run's newest evaluation return, or its newest training return where nothing was evaluated."""
    for name in ("eval_return_mean", "return_mean"):
        if name in table:
            values = np.ma.masked_invalid(table[name][index::count]).compressed()
            if values.size:
                return float(values[-1])
    return np.nan


def _return_at(table: MetricsTable, member: Member, update: int) -> float:
    """What a run's evaluation at an update gave; −∞ where there was none."""
    if "eval_return_mean" not in table:
        return -np.inf
    rows = np.flatnonzero(np.asarray(table["update"]) == update)
    if member.index >= len(rows):
        return -np.inf
    value = np.ma.filled(table["eval_return_mean"].astype(float), np.nan)[rows[member.index]]
    return float(value) if np.isfinite(value) else -np.inf
