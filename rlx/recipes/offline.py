"""What recipes of learners from a dataset have in common: the data, an environment to evaluate in, networks.

train = rlx.make_train("td3_bc", dataset="hopper.hdf5", env="brax:hopper")
state, metrics = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 8))
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from rlx import envs
from rlx.recipes import acting, online, simulatorless
from rlx.recipes.presets.dataset_names import named_in
from rlx.recipes.settings import COUNT, FRACTION, POSITIVE, SHARE, STEPS, setting
from rlx.recipes.wiring import Config, Recipe

if TYPE_CHECKING:
    from rlx import data
    from rlx.algorithms import Learner


def other_default(kind: type[Config], name: str, default: Any) -> Any:
    """A field of a config as it is known, with another default."""
    return dataclasses.field(default=default, metadata=kind.__dataclass_fields__[name].metadata)


@dataclasses.dataclass(frozen=True)
class Offline(online.Online):
    """A dataset to learn from, and an environment to be evaluated in, or to go on learning in."""

    dataset: str = setting(
        "",
        "File (D4RL's HDF5) or folder (Minari) of the data; `rlx dataset` makes and describes such files.",
        group="data",
    )
    weighting: Literal["uniform", "return", "advantage", "top"] = setting(
        "uniform",
        "Which transitions are drawn more often: none, those of trajectories with a high return (RW) or a higher one "
        "than their start promises (AW), or only those of the best trajectories.",
        group="data",
    )
    weighting_temperature: float = setting(
        0.1, "Temperature of weighting by return and by advantage.", group="data", within=POSITIVE
    )
    top_fraction: float = setting(
        0.1, "Share of the trajectories that the weighting top keeps.", group="data", within=SHARE
    )
    normalize_observation: bool = setting(
        True, "Normalize observations by their mean and standard deviation over the dataset.", group="data"
    )
    env: str = setting(
        "rlx:pendulum",
        "Environment to evaluate and to act in, suite:task; by default the one that the dataset names. none trains "
        "without a simulator and evaluates nothing: `rlx evaluate` estimates the return from a dataset.",
        group="environment",
    )
    backend: str | None = other_default(acting.Acting, "backend", None)
    max_episode_steps: int | None = other_default(acting.Acting, "max_episode_steps", None)
    action_repeat: int = other_default(acting.Acting, "action_repeat", 1)
    total_steps: int = setting(
        1_000_000, "Gradient steps of each seed, rounded up to whole updates.", group="scale", within=STEPS
    )
    updates_per_step: int = setting(
        1000, "Gradient steps of one update, as metrics count updates.", group="scale", within=COUNT
    )
    batch_size: int = setting(256, "Transitions of a minibatch.", group="scale", within=COUNT)
    learning_rate: float = setting(3e-4, "Adam's step size for the policy.", within=POSITIVE, swept=True)
    eval_episodes: int = other_default(acting.Acting, "eval_episodes", 10)
    max_eval_steps: int | None = other_default(acting.Acting, "max_eval_steps", None)

    # What preparing a dataset asks of every config; a learner that uses one of these has a field or a property of it.
    reward_scaling: ClassVar[str] = "none"
    reward_scale: ClassVar[float] = 1.0
    reward_shift: ClassVar[float] = 0.0
    normalization_eps: ClassVar[float] = 1e-3
    return_discount: ClassVar[float | None] = None
    continues_returns: ClassVar[bool] = False

    @property
    def steps_per_update(self) -> int:
        """Gradient steps of one update of one seed."""
        return min(self.updates_per_step, self.total_steps)


@dataclasses.dataclass(frozen=True)
class Feedforward(Offline):
    """A policy that sees one observation."""

    hidden_sizes: tuple[int, ...] = setting((256, 256), "Hidden layers of the policy.", group="network", within=COUNT)


@dataclasses.dataclass(frozen=True)
class Valued(Feedforward):
    """A policy with values beside it, which rewards are for."""

    reward_scaling: Literal["none", "return_range"] = setting(
        "none",
        "Scale of the rewards: none, or return_range, times 1000 / (best return - worst return) of the dataset.",
        group="data",
    )
    reward_scale: float = setting(1.0, "Factor of the rewards, beside their scaling.", group="data", within=POSITIVE)
    reward_shift: float = setting(0.0, "Number added to the scaled rewards.", group="data")
    critic_learning_rate: float = setting(3e-4, "Adam's step size for critics and values.", within=POSITIVE, swept=True)
    discount: float = setting(0.99, "Discount γ.", within=FRACTION, swept=True)
    tau: float = setting(
        0.005, "How far target networks move towards the networks in an update.", within=SHARE, swept=True
    )
    critic_hidden_sizes: tuple[int, ...] | None = setting(
        None, "Hidden layers of critics and values; None takes the policy's.", group="network", within=COUNT
    )

    @property
    def critic_sizes(self) -> tuple[int, ...]:
        """Hidden layers of critics and values."""
        return self.hidden_sizes if self.critic_hidden_sizes is None else self.critic_hidden_sizes


class Loaded(NamedTuple):
    """A dataset made ready for a config: a pytree of arrays that are arguments of the compiled program.

    Attributes:
        dataset: transitions, normalized and scaled.
        table: how often each is drawn; None for all alike.
        rows: what is known of each row beside, by the name that it has in a batch's extras.
        normalization: mean of the observations and what they are divided by; None where they are as they were.
        reference: returns of the scores 0 and 100; None where none are known.
        reward_units: what rewards were multiplied by, and what was added then.
        actions: which actions there are, known while a program is traced.
    """

    dataset: data.Dataset
    table: data.AliasTable | None
    rows: dict[str, Any]
    normalization: tuple[Any, Any] | None
    reference: tuple[Any, Any] | None
    reward_units: tuple[Any, Any]
    actions: data.ActionRange


def load(config: Offline) -> Loaded:
    """Read and prepare a config's dataset; kept for the next call with the same file and settings.

    Raises:
        DatasetError: no dataset is named, or its file is missing or broken.
    """
    from rlx.data import DatasetError

    if not config.dataset:
        raise DatasetError("offline learners need --dataset FILE; rlx dataset make writes one")
    return _load(
        os.path.abspath(config.dataset),
        config.weighting,
        config.weighting_temperature,
        config.top_fraction,
        config.normalization_eps if config.normalize_observation else None,
        config.reward_scaling,
        config.reward_scale,
        config.reward_shift,
        config.return_discount,
        config.continues_returns,
    )


@functools.lru_cache(maxsize=4)
def _load(path, weighting, temperature, fraction, eps, scaling, scale, shift, discount, continued) -> Loaded:
    import jax.numpy as jnp

    from rlx import data

    dataset, metadata, _ = data.read_dataset(path)
    table = None
    if weighting != "uniform":
        weight = data.row_weight(dataset, weighting, temperature=temperature, fraction=fraction)
        table = data.alias_table(weight)
    if scaling == "return_range":
        returns = dataset.episode_return
        spread = float(returns.max() - returns.min())
        scale = scale * (1000.0 / spread if spread else 1.0)
    dataset = dataset._replace(reward=scale * dataset.reward + shift)
    rows = {}
    if discount is not None:
        rows["return_to_go"] = data.returns_to_go(dataset, discount=discount, continued=continued)
    normalization = None
    if eps is not None:
        dataset, mean, deviation = data.normalize_observations(dataset, eps=eps)
        normalization = mean, deviation
    scores = data.reference_scores(metadata)
    reference = None if scores is None else (jnp.float32(scores.minimum), jnp.float32(scores.maximum))
    reward_units = jnp.float32(scale), jnp.float32(shift)
    return Loaded(dataset, table, rows, normalization, reference, reward_units, data.ActionRange.of(dataset))


def env_of(values: Mapping[str, Any]) -> str | None:
    """The environment that the dataset of a config's values names; None without such a dataset."""
    from rlx import data

    if not values.get("dataset"):
        return None
    # The transitions are for later: to read them begins JAX, before devices are made of the cores.
    env = data.read_metadata(values["dataset"]).get("env")
    return env if isinstance(env, str) else None


def make_environment(config: Offline) -> envs.Environment:
    """The environment to evaluate in, as the learner sees it; of `none`, what has the dataset's spaces."""
    if config.env == simulatorless.NONE:
        from rlx import data

        return _as_seen(config, simulatorless.make(config, load(config), data.read_metadata(config.dataset)))
    return _as_seen(config, acting.make_environment(config))


def _as_seen(config: Offline, environment: Any) -> Any:
    """With observations as datasets hold them, vectors; of the latest steps, where the learner acts on sequences."""
    from rlx.envs.history import WithHistory

    if isinstance(environment, WithHistory):
        return environment
    environment = envs.flatten_observations(environment)
    if config.sequence_length is None:
        return environment
    return envs.with_history(environment, config.sequence_length)


def make_source(config: Offline, environment: Any, learner: Learner, data: Loaded):
    """Minibatches of the dataset; and of what the policy experiences, after the steps on the dataset alone.

    Raises:
        DatasetError: the environment's observations or actions have other shapes than the dataset's, or its actions
            other bounds by far.
    """
    from rlx.training import sources

    _check_fit(config, environment, data)
    sampler = functools.partial(sample, length=config.sequence_length)
    if config.online_steps:
        return online.make_source(config, _as_seen(config, environment), learner, data, sampler)
    return sources.dataset(
        data, learner, batch_size=config.batch_size, updates_per_step=config.steps_per_update, sampler=sampler
    )


def sample(loaded: Loaded, key: Any, count: int, *, length: int | None = None):
    """A batch, with what is known of its rows among the extras: transitions, or sequences of a length."""
    from rlx import data

    if length is None:
        batch = data.sample(loaded.dataset, key, count, weight=loaded.table)
    else:
        batch = data.sample_sequences(loaded.dataset, key, count, length=length, weight=loaded.table)
    found = {name: values[batch.extras["index"]] for name, values in loaded.rows.items()}
    return batch._replace(extras=batch.extras | found)


def make_evaluator(config: Offline, environment: Any, learner: Learner, data: Loaded) -> Callable:
    """Whole episodes, and their score where the dataset says which returns have the scores 0 and 100.

    Nothing is measured without a simulator.
    """
    if config.env == simulatorless.NONE:
        return lambda learner_state, key: {}
    evaluate = acting.make_evaluator(config, _as_seen(config, environment), learner)
    if data.reference is None:
        return evaluate

    def with_score(learner_state: Any, key: Any) -> dict[str, Any]:
        from rlx.diagnostics import normalized_score

        metrics = evaluate(learner_state, key)
        minimum, maximum = data.reference
        score = normalized_score(metrics["eval_return_mean"], minimum=minimum, maximum=maximum)
        return metrics | {"eval_normalized_score": score}

    return with_score


def _check_fit(config: Offline, environment: Any, loaded: Loaded) -> None:
    from rlx.data import DatasetError

    environment, dataset = _as_seen(config, environment), loaded.dataset
    observed = environment if config.sequence_length is None else environment.environment
    for what, space, array in (
        ("observations", observed.observation_space, dataset.observation),
        ("actions", environment.action_space, dataset.action),
    ):
        if space.shape != array.shape[1:]:
            raise DatasetError(
                f"{config.dataset} has {what} of the shape {array.shape[1:]}, {config.env} of {space.shape}: name the "
                "environment of the dataset by --env, or train without one by --env none"
            )
    try:
        loaded.actions.check(environment.action_space)
    except DatasetError as error:
        raise DatasetError(
            f"{config.dataset} is not of {config.env}: {error}; name its environment by --env, or scale its actions"
        ) from None


def recipe(name: str, title: str, config: type[Offline], make_learner: Callable, core: str, **others: Any) -> Recipe:
    """The recipe of a learner from a dataset; arguments as of `Recipe`."""
    return Recipe(
        name=name,
        title=title,
        config=config,
        make_environment=make_environment,
        make_learner=make_learner,
        make_source=make_source,
        make_evaluator=make_evaluator,
        load=load,
        core=core,
        env_of=env_of,
        notes=online.notes,
        subject=named_in(others.get("presets", {})),
        **({"examples": (f"rlx train {name} --dataset hopper.hdf5 --seeds 4",)} | others),
    )


def normalized(config: Offline, learner: Learner, data: Loaded | None) -> Learner:
    """The learner, acting on observations as the environment gives them, whatever it was trained on."""
    from rlx.algorithms import with_fixed_normalization

    data = load(config) if data is None else data
    return learner if data.normalization is None else with_fixed_normalization(learner, *data.normalization)


def gaussian(action_space: Any, sizes: Sequence[int], **options: Any):
    """A Gaussian policy, initialized as PyTorch does."""
    from rlx import policies

    usual = {"activation": "relu", "initialization": "uniform"}
    return policies.gaussian_policy(action_space, sizes, **(usual | options))


def state_value(sizes: Sequence[int], **options: Any):
    """A state value, initialized as PyTorch does."""
    from rlx import policies

    return policies.critic(sizes, **({"activation": "relu", "initialization": "uniform"} | options))


def adam(rate: Any, given: Any = None):
    """Adam with a step size, where no other optimizer is given."""
    import optax

    return optax.adam(rate) if given is None else given
