"""What SAC and TD3 have in common when they are wired up: an environment, a replay, networks.

from rlx.recipes.sac import Config, make_train
train = make_train(Config.for_env("rlx:pendulum"))
state, metrics = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 8))
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from rlx import envs
from rlx.recipes import presets
from rlx.recipes.ppo import make_environment


@dataclasses.dataclass(frozen=True)
class Config:
    """Configuration of an off-policy run. Numbers listed in `SWEEPABLE` may be traced arrays; the rest is static."""

    algorithm = "off_policy"

    env: str = "rlx:pendulum"
    """Environment with continuous actions, `suite:task`; `rlx envs` lists them."""
    backend: str | None = None
    """Physics of a Brax task: spring, positional, generalized or mjx; None takes the task's default."""
    max_episode_steps: int | None = None
    """Time limit in decisions; None takes the task's own."""
    action_repeat: int = 1
    """Simulator steps that one decision lasts."""
    total_steps: int = 1_000_000
    """Environment steps of each seed, the random ones included (rounded up to whole updates)."""
    num_envs: int = 8
    """Parallel environments of each seed."""
    unroll_length: int = 1
    """Steps of each environment between two updates."""
    updates_per_step: int = 8
    """Gradient steps of an update; as many as its environment steps is the papers' rate."""
    batch_size: int = 256
    """Transitions of a minibatch."""
    buffer_size: int = 1_000_000
    """Transitions that are kept; the oldest make room."""
    warmup_steps: int = 10_000
    """Random environment steps before the first update."""
    warmup_policy: Literal["uniform", "untrained"] = "uniform"
    """Where their actions come from: uniform, or untrained, the policy as it begins (Brax)."""
    learning_rate: float = 3e-4
    """Adam's step size."""
    critic_learning_rate: float | None = None
    """Adam's step size for the critics; None takes the other one."""
    discount: float = 0.99
    """γ."""
    tau: float = 0.005
    """How far target networks move in an update."""
    reward_scale: float = 1.0
    """Multiplies rewards."""
    hidden_sizes: tuple[int, ...] = (256, 256)
    """Hidden layers of the policy."""
    critic_hidden_sizes: tuple[int, ...] | None = None
    """Hidden layers of the critics; None takes the policy's."""
    num_critics: int = 2
    """Critics, the smallest value of which is bootstrapped from."""
    activation: Literal["tanh", "relu", "elu", "gelu", "silu"] = "relu"
    """Activation of the hidden layers."""
    critic_layer_norm: bool = False
    """Layer normalization before every activation of the critics."""
    initialization: Literal["uniform", "lecun_uniform", "orthogonal"] = "uniform"
    """Weights at the start: within ±1/√inputs, biases too (PyTorch), within ±√(3/inputs) (Brax), or orthogonal."""
    normalize_observation: bool = False
    """By running mean and standard deviation."""
    eval_episodes: int = 16
    """Episodes of an evaluation, deterministic and stochastic each."""
    max_eval_steps: int | None = None
    """Cut episodes of an evaluation here; None takes the environment's limit."""

    @classmethod
    def for_env(cls, env: str, **overrides) -> Config:
        """The preset of an environment (`rlx.recipes.presets`), with `overrides` on top."""
        return cls(env=env, **(presets.preset(cls.algorithm, env) | overrides))

    @property
    def initial_steps(self) -> int:
        """Environment steps of one seed before its first update."""
        return math.ceil(self.warmup_steps / self.num_envs) * self.num_envs

    @property
    def steps_per_update(self) -> int:
        """Environment steps of one update of one seed."""
        return self.num_envs * self.unroll_length

    @property
    def num_updates(self) -> int:
        """Updates needed for `total_steps`."""
        return max(1, math.ceil((self.total_steps - self.initial_steps) / self.steps_per_update))


SWEEPABLE = ("learning_rate", "critic_learning_rate", "discount", "tau", "reward_scale")
"""Hyperparameters of all of them that may be arrays: each can be an axis of a `vmap`."""


class Wiring(NamedTuple):
    """From a config to what trains.

    Attributes:
        hyperparameters: `(config)`: the sweepable numbers (those that are in use).
        make_program: `(config, environment=None, num_updates=None, **slots)`: a `rlx.training.loop.Program`.
        make_build: `(config, num_updates, **slots)`: from a setting of the sweepable numbers to a program: what
            `rlx.training.fit` drives.
        make_train: `(config, **slots)`: a whole run as a pure function `key -> (state, metrics)`.
    """

    hyperparameters: Callable[[Config], dict[str, float]]
    make_program: Callable
    make_build: Callable
    make_train: Callable


def wire(make_learner: Callable, sweepable: tuple[str, ...]) -> Wiring:
    """The functions of an algorithm's module that follow from its learner and its sweepable numbers."""

    def hyperparameters(config: Config) -> dict[str, float]:
        return {name: getattr(config, name) for name in sweepable if getattr(config, name) is not None}

    def make_program(config: Config, environment: envs.Environment | None = None, num_updates=None, **slots):
        from rlx.training import replay

        environment = make_environment(config) if environment is None else environment
        return replay.make_program(
            environment,
            make_learner(config, environment, num_updates, **slots),
            num_envs=config.num_envs,
            unroll_length=config.unroll_length,
            updates_per_step=config.updates_per_step,
            batch_size=config.batch_size,
            buffer_size=config.buffer_size,
            warmup_steps=config.warmup_steps,
            warmup_policy=config.warmup_policy,
            eval_episodes=config.eval_episodes,
            max_eval_steps=config.max_eval_steps,
        )

    def make_build(config: Config, num_updates: int, **slots) -> Callable[[Mapping], object]:
        environment = make_environment(config)
        return lambda setting: make_program(dataclasses.replace(config, **setting), environment, num_updates, **slots)

    def make_train(config: Config, **slots) -> Callable:
        from rlx.training import loop

        return loop.make_train(make_program(config, **slots), config.num_updates)

    return Wiring(hyperparameters, make_program, make_build, make_train)


def normalized(config: Config, learner):
    """The learner, on normalized observations if the config asks for it."""
    from rlx.algorithms import with_running_normalization

    return with_running_normalization(learner) if config.normalize_observation else learner


def make_critic(config: Config):
    """The config's ensemble of critics."""
    from rlx import policies

    sizes = config.hidden_sizes if config.critic_hidden_sizes is None else config.critic_hidden_sizes
    return policies.action_critic(
        sizes,
        num=config.num_critics,
        activation=config.activation,
        layer_norm=config.critic_layer_norm,
        initialization=config.initialization,
    )


def make_optimizers(config: Config):
    """Adam for the policy and for the critics."""
    import optax

    critic_rate = config.learning_rate if config.critic_learning_rate is None else config.critic_learning_rate
    return optax.adam(config.learning_rate), optax.adam(critic_rate)
