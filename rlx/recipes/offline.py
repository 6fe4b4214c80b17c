"""What offline learners have in common when they are wired up: a dataset, an environment to evaluate in, networks.

from rlx.recipes.offline_learners import LEARNERS
td3_bc = LEARNERS["td3_bc"]
train = td3_bc.make_train(td3_bc.Config(dataset="hopper.hdf5", env="brax:hopper"))
state, metrics = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 8))
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rlx import envs
from rlx.recipes import ppo

if TYPE_CHECKING:
    from rlx import data
    from rlx.algorithms import Learner


@dataclasses.dataclass(frozen=True)
class Config(abc.ABC):
    """Configuration of an offline run. Numbers that are swept may be traced arrays; the rest is static."""

    algorithm = "offline"
    sweepable = ("learning_rate",)
    steps_name = "gradient_steps"
    num_envs = 0
    # What else is asked of every config; a learner that uses one of these makes a field or a property of it.
    reward_scaling, reward_scale, reward_shift = "none", 1.0, 0.0
    normalization_eps = 1e-3
    return_discount = None
    sequence_length = None

    dataset: str = ""
    """File (D4RL's HDF5) or folder (Minari) of the data; `rlx dataset` makes and describes such files."""
    env: str = "rlx:pendulum"
    """Environment to evaluate in, `suite:task`; by default the one that the dataset names."""
    backend: str | None = None
    """Physics of a Brax task: spring, positional, generalized or mjx; None takes the task's default."""
    max_episode_steps: int | None = None
    """Time limit in decisions; None takes the task's own."""
    action_repeat: int = 1
    """Simulator steps that one decision lasts."""
    total_steps: int = 1_000_000
    """Gradient steps of each seed (rounded up to whole updates)."""
    updates_per_step: int = 1000
    """Gradient steps of one update, as metrics count them."""
    batch_size: int = 256
    """Transitions of a minibatch."""
    weighting: Literal["uniform", "return", "advantage", "top"] = "uniform"
    """Which transitions are drawn more often: none, those of trajectories with a high return (RW) or a higher one than
    their start promises (AW), or only those of the best trajectories."""
    weighting_temperature: float = 0.1
    """Temperature of return and advantage weighting."""
    top_fraction: float = 0.1
    """Share of the trajectories that top keeps."""
    normalize_observation: bool = True
    """By mean and standard deviation over the dataset."""
    learning_rate: float = 3e-4
    """Adam's step size for the policy."""
    eval_episodes: int = 10
    """Episodes of an evaluation, deterministic and stochastic each."""
    max_eval_steps: int | None = None
    """Cut episodes of an evaluation here; None takes the environment's limit."""

    @property
    def steps_per_update(self) -> int:
        """Gradient steps of one update of one seed."""
        return min(self.updates_per_step, self.total_steps)

    @property
    def num_updates(self) -> int:
        """Updates needed for `total_steps`."""
        return math.ceil(self.total_steps / self.steps_per_update)

    @abc.abstractmethod
    def learner(self, space: Any, source: Source, total_steps: int) -> Learner:
        """The learner on normalized observations.

        Args:
            space: of the actions.
            source: what is learned from.
            total_steps: gradient steps of the run, for schedules.
        """


class Source(NamedTuple):
    """What a program draws from: a pytree of arrays that are arguments of the compiled program.

    Attributes:
        dataset: transitions, normalized and scaled.
        table: how often each is drawn; None for all alike.
        rows: what is known of each row beside, by the name that it has in a batch's extras.
    """

    dataset: data.Dataset
    table: data.AliasTable | None
    rows: dict[str, Any]


class Loaded(NamedTuple):
    """A dataset made ready for a config.

    Attributes:
        source: what a program draws from.
        mean: of the observations; None where they are not normalized.
        scale: what they are divided by, or None.
        reference: returns between which scores are normalized; None where none are known.
    """

    source: Source
    mean: Any
    scale: Any
    reference: Any


def load(config: Config) -> Loaded:
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
    )


@functools.lru_cache(maxsize=4)
def _load(path, weighting, temperature, fraction, eps, scaling, scale, shift, discount) -> Loaded:
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
    rows = {} if discount is None else {"return_to_go": data.returns_to_go(dataset, discount=discount)}
    mean = deviation = None
    if eps is not None:
        dataset, mean, deviation = data.normalize_observations(dataset, eps=eps)
    return Loaded(Source(dataset, table, rows), mean, deviation, data.reference_scores(metadata))


def sample(source: Source, key, count: int, *, length: int | None = None):
    """A batch of a source, with what it knows of its rows among the extras: transitions, or sequences of a length."""
    from rlx import data

    if length is None:
        batch = data.sample(source.dataset, key, count, weight=source.table)
    else:
        batch = data.sample_sequences(source.dataset, key, count, length=length, weight=source.table)
    found = {name: values[batch.extras["index"]] for name, values in source.rows.items()}
    return batch._replace(extras=batch.extras | found)


def env_of(path: str | None) -> str | None:
    """The environment that a dataset names, where there is such a dataset."""
    from rlx import data

    if not path:
        return None
    env = data.read_dataset(path).metadata.get("env")
    return env if isinstance(env, str) else None


class Wired(NamedTuple):
    """One learner's half of what a module such as `rlx.recipes.ppo` offers; see `rlx.cli.records`.

    Attributes:
        Config: its config.
        SWEEPABLE: hyperparameters that may be arrays.
    """

    Config: type[Config]
    SWEEPABLE: tuple[str, ...]

    env_of = staticmethod(env_of)

    def make_environment(self, config: Config) -> envs.Environment:
        """The environment to evaluate in; one that remembers where the learner acts on sequences."""
        return _remembering(config, ppo.make_environment(config))

    def hyperparameters(self, config: Config) -> dict[str, float]:
        """The sweepable numbers of a config (those that are in use)."""
        return {name: getattr(config, name) for name in self.SWEEPABLE if getattr(config, name) is not None}

    def make_learner(
        self,
        config: Config,
        environment: envs.Environment,
        num_updates: int | None = None,
        source: Source | None = None,
    ) -> Learner:
        """The config's learner, which acts on observations as the environment gives them."""
        from rlx.algorithms import offline

        loaded = load(config)
        total_steps = (num_updates or config.num_updates) * config.steps_per_update
        learner = config.learner(environment.action_space, loaded.source if source is None else source, total_steps)
        if loaded.mean is None:
            return learner
        return offline.with_normalized_observations(learner, loaded.mean, loaded.scale)

    def make_program(
        self,
        config: Config,
        environment: envs.Environment | None = None,
        num_updates: int | None = None,
        source: Source | None = None,
    ):
        """The config as a `rlx.training.Program`; `source` in place of what its dataset holds."""
        from rlx.training import offline

        environment = _remembering(config, environment or ppo.make_environment(config))
        loaded = load(config)
        _check_shapes(config, environment, loaded.source.dataset)
        source = loaded.source if source is None else source
        program = offline.make_program(
            source.dataset,
            self.make_learner(config, environment, num_updates, source),
            environment=environment,
            batch_size=config.batch_size,
            updates_per_step=config.steps_per_update,
            sampler=lambda _, key, count: sample(source, key, count, length=config.sequence_length),
            eval_episodes=config.eval_episodes,
            max_eval_steps=config.max_eval_steps,
        )
        if loaded.reference is None:
            return program

        def evaluate(state, key):
            from rlx.diagnostics import normalized_score

            metrics = program.evaluate(state, key)
            minimum, maximum, _ = loaded.reference
            score = normalized_score(metrics["eval_return_mean"], minimum=minimum, maximum=maximum)
            return metrics | {"eval_normalized_score": score}

        return program._replace(evaluate=evaluate)

    def make_build(self, config: Config, num_updates: int) -> Callable[[Mapping], object]:
        """From a setting of the sweepable numbers to a `Program`: what `rlx.training.fit` drives."""
        from rlx.training.compiled import WithData

        environment, source = self.make_environment(config), load(config).source

        def make(setting: Mapping, source: Source):
            return self.make_program(dataclasses.replace(config, **setting), environment, num_updates, source)

        return WithData(make, source)

    def make_train(self, config: Config) -> Callable:
        """A whole run as a pure function `key -> (state, metrics)`, metrics one row per update; jit and vmap it."""
        from rlx.training import loop

        return loop.make_train(self.make_program(config), config.num_updates)


def _remembering(config: Config, environment: envs.Environment) -> envs.Environment:
    return environment if config.sequence_length is None else envs.with_history(environment, config.sequence_length)


def _check_shapes(config: Config, environment: envs.Environment, dataset: data.Dataset) -> None:
    from rlx.data import DatasetError

    observed = environment if config.sequence_length is None else environment.environment
    for what, space, array in (
        ("observations", observed.observation_space, dataset.observation),
        ("actions", environment.action_space, dataset.action),
    ):
        if space.shape != array.shape[1:]:
            raise DatasetError(
                f"{config.dataset} has {what} of the shape {array.shape[1:]}, {config.env} of {space.shape}: name the "
                "environment of the dataset by --env"
            )
