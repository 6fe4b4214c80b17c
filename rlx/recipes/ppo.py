"""PPO wired up: one config, from an environment's name to a program that trains in it.

from rlx.recipes.ppo import Config, make_train
train = make_train(Config(env="brax:ant", total_steps=10_000_000))
state, metrics = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 8))
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Literal

from rlx import envs
from rlx.recipes import presets


@dataclasses.dataclass(frozen=True)
class Config:
    """Configuration of a PPO run. Numbers listed in `SWEEPABLE` may be traced arrays; the rest is static."""

    env: str = "brax:inverted_pendulum"
    """Environment, `suite:task`; `rlx envs` lists them."""
    backend: str | None = None
    """Physics of a Brax task: spring, positional, generalized or mjx; None takes the task's default."""
    max_episode_steps: int | None = None
    """Time limit in decisions; None takes the task's own."""
    action_repeat: int = 1
    """Simulator steps that one decision lasts."""
    total_steps: int = 1_000_000
    """Environment steps of each seed (rounded up to whole updates)."""
    num_envs: int = 512
    """Parallel environments of each seed."""
    unroll_length: int = 32
    """Steps of each environment between two updates."""
    num_minibatches: int = 8
    """Minibatches of each epoch."""
    update_epochs: int = 4
    """Passes over each batch."""
    learning_rate: float = 3e-4
    """Adam's step size."""
    learning_rate_schedule: Literal["constant", "linear"] = "constant"
    """Constant, or linear to zero over the run."""
    adam_epsilon: float = 1e-5
    """Adam's ε."""
    max_grad_norm: float = 0.5
    """Clip the gradient's global norm to this."""
    discount: float = 0.99
    """γ."""
    gae_lambda: float = 0.95
    """λ of generalized advantage estimation."""
    clip: float = 0.2
    """ε of the clipped surrogate."""
    clip_schedule: Literal["constant", "linear"] = "constant"
    """Constant, or linear to zero over the run."""
    value_loss: Literal["squared", "clipped"] = "squared"
    """Critic loss: plain, or clipped around the old value."""
    value_clip: float = 0.2
    """ε of the clipped value loss."""
    value_coefficient: float = 0.5
    """Weight of the critic loss."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy bonus."""
    normalize_advantage: Literal["minibatch", "batch", "none"] = "minibatch"
    """Where advantages are standardized."""
    normalize_observation: bool = True
    """By running mean and variance."""
    normalize_reward: bool = False
    """By the running standard deviation of the discounted return."""
    reward_scale: float = 1.0
    """Multiplies rewards."""
    target_kl: float | None = None
    """Stop the epochs of an update once the approximate KL exceeds 1.5 times this."""
    adaptive_kl: float | None = None
    """Add a KL penalty whose coefficient adapts to this target."""
    policy: Literal["auto", "gaussian", "gaussian_state", "tanh", "beta", "categorical"] = "auto"
    """Kind of policy; auto: gaussian for continuous actions, categorical for discrete ones."""
    hidden_sizes: tuple[int, ...] = (256, 256)
    """Hidden layers of the policy (of the torso where it is shared)."""
    critic_hidden_sizes: tuple[int, ...] | None = None
    """Hidden layers of the critic; None takes the policy's."""
    shared_torso: bool = False
    """Policy and critic share their hidden layers."""
    activation: Literal["tanh", "relu", "elu", "gelu", "silu"] = "tanh"
    """Activation of the hidden layers."""
    layer_norm: bool = False
    """Layer normalization before every activation."""
    initial_std: float = 1.0
    """Scale of a Gaussian policy at the start."""
    eval_episodes: int = 16
    """Episodes of an evaluation, deterministic and stochastic each."""
    max_eval_steps: int | None = None
    """Cut episodes of an evaluation here; None takes the environment's limit."""

    @classmethod
    def for_env(cls, env: str, **overrides) -> Config:
        """The preset of an environment (`rlx.recipes.presets`), with `overrides` on top."""
        return cls(env=env, **(presets.preset("ppo", env) | overrides))

    @property
    def steps_per_update(self) -> int:
        """Environment steps of one update of one seed."""
        return self.num_envs * self.unroll_length

    @property
    def num_updates(self) -> int:
        """Updates needed for `total_steps`."""
        return math.ceil(self.total_steps / self.steps_per_update)


SWEEPABLE = (
    "learning_rate",
    "adam_epsilon",
    "max_grad_norm",
    "discount",
    "gae_lambda",
    "clip",
    "value_clip",
    "value_coefficient",
    "entropy_coefficient",
    "reward_scale",
    "target_kl",
    "adaptive_kl",
)
"""Hyperparameters that may be arrays: each can be an axis of a `vmap`."""


def hyperparameters(config: Config) -> dict[str, float]:
    """The sweepable numbers of a config (those that are in use)."""
    return {name: getattr(config, name) for name in SWEEPABLE if getattr(config, name) is not None}


def make_environment(config: Config) -> envs.Environment:
    """The config's environment, its observations flattened to vectors for the networks."""
    options = {
        name: value
        for name, value in (("max_episode_steps", config.max_episode_steps), ("backend", config.backend))
        if value is not None
    }
    return envs.flatten_observations(envs.make(config.env, action_repeat=config.action_repeat, **options))


def make_learner(config: Config, environment: envs.Environment, num_updates: int | None = None, **slots):
    """The config's PPO learner for an environment; `slots` replace arguments of `rlx.algorithms.ppo.learner`."""
    import optax

    from rlx import controllers, policies
    from rlx.algorithms import ppo

    total_gradient_steps = (num_updates or config.num_updates) * config.update_epochs * config.num_minibatches

    def scheduled(value, schedule):
        if schedule == "constant":
            return value
        return lambda step: value * (1.0 - step / total_gradient_steps)

    network = {"activation": config.activation, "layer_norm": config.layer_norm}
    heads = {"activation": config.activation} if config.shared_torso else network
    critic_sizes = config.hidden_sizes if config.critic_hidden_sizes is None else config.critic_hidden_sizes
    discrete = hasattr(environment.action_space, "n")
    gaussian = not discrete and config.policy in ("auto", "gaussian", "gaussian_state", "tanh")
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.inject_hyperparams(optax.adam)(
            learning_rate=scheduled(config.learning_rate, config.learning_rate_schedule),
            eps=config.adam_epsilon,
        ),
    )
    arguments = dict(
        torso=policies.torso(config.hidden_sizes, **network) if config.shared_torso else None,
        discount=config.discount,
        lambda_=config.gae_lambda,
        update_epochs=config.update_epochs,
        num_minibatches=config.num_minibatches,
        clip=scheduled(config.clip, config.clip_schedule),
        value_loss=(
            ppo.squared_value_loss if config.value_loss == "squared" else ppo.clipped_value_loss(config.value_clip)
        ),
        value_coefficient=config.value_coefficient,
        regularizers={"entropy": (config.entropy_coefficient, ppo.negative_entropy)},
        normalize_advantage=config.normalize_advantage,
        normalize_observation=config.normalize_observation,
        normalize_reward=config.normalize_reward,
        reward_scale=config.reward_scale,
        target_kl=config.target_kl,
        adaptive_kl=None if config.adaptive_kl is None else controllers.adaptive_kl(target=config.adaptive_kl),
    )
    return ppo.learner(
        policies.policy(
            environment.action_space,
            () if config.shared_torso else config.hidden_sizes,
            kind=config.policy,
            **heads,
            **({"initial_std": config.initial_std} if gaussian else {}),
        ),
        policies.critic(() if config.shared_torso else critic_sizes, **heads),
        optimizer,
        **(arguments | slots),
    )


def make_program(config: Config, environment: envs.Environment | None = None, num_updates: int | None = None, **slots):
    """The config as a `rlx.training.Program` (`init`, `step`, `evaluate`)."""
    from rlx.training import loop

    environment = make_environment(config) if environment is None else environment
    return loop.make_program(
        environment,
        make_learner(config, environment, num_updates, **slots),
        num_envs=config.num_envs,
        unroll_length=config.unroll_length,
        eval_episodes=config.eval_episodes,
        max_eval_steps=config.max_eval_steps,
    )


def make_build(config: Config, num_updates: int, **slots) -> Callable[[Mapping], object]:
    """From a setting of the sweepable numbers to a `Program`: what `rlx.training.fit` drives."""
    environment = make_environment(config)
    return lambda setting: make_program(dataclasses.replace(config, **setting), environment, num_updates, **slots)


def make_train(config: Config, **slots) -> Callable:
    """A whole run as a pure function.

    Args:
        config: what to train; `SWEEPABLE` numbers may be traced, so `make_train` may be called inside a `vmap`.
        **slots: replace arguments of `rlx.algorithms.ppo.learner`, for example `surrogate`.

    Returns:
        `train(key) -> (state, metrics)`: `state.params` are the trained parameters, `metrics` hold one row per update.
        Jit it and vmap it over keys as you like.
    """
    from rlx.training import loop

    return loop.make_train(make_program(config, **slots), config.num_updates)
