"""TD3 wired up: one config, from an environment's name to a program that trains in it.

from rlx.recipes.td3 import Config, make_train
train = make_train(Config.for_env("rlx:pendulum"))
state, metrics = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 8))
"""

from __future__ import annotations

import dataclasses

from rlx import envs
from rlx.recipes import off_policy
from rlx.recipes.off_policy import make_environment

__all__ = [
    "SWEEPABLE",
    "Config",
    "hyperparameters",
    "make_build",
    "make_environment",
    "make_learner",
    "make_program",
    "make_train",
]


@dataclasses.dataclass(frozen=True)
class Config(off_policy.Config):
    """Configuration of a TD3 run. Numbers listed in `SWEEPABLE` may be traced arrays; the rest is static."""

    algorithm = "td3"

    policy_delay: int = 2
    """Gradient steps of the critics for one of the policy; divides `updates_per_step`."""
    exploration_std: float = 0.1
    """Noise on actions, in units of half the action's range."""
    smoothing_std: float = 0.2
    """Noise on the target policy's actions, in the same units."""
    smoothing_clip: float = 0.5
    """Largest noise on the target policy's actions."""


SWEEPABLE = (*off_policy.SWEEPABLE, "exploration_std", "smoothing_std", "smoothing_clip")
"""Hyperparameters that may be arrays: each can be an axis of a `vmap`."""


def make_learner(config: Config, environment: envs.Environment, num_updates: int | None = None, **slots):
    """The config's TD3 learner for an environment; `slots` replace arguments of `rlx.algorithms.td3.learner`."""
    from rlx import policies
    from rlx.algorithms import td3

    space = environment.action_space
    actor = policies.deterministic(
        space, config.hidden_sizes, activation=config.activation, initialization=config.initialization
    )
    arguments = dict(
        low=space.low,
        high=space.high,
        discount=config.discount,
        tau=config.tau,
        policy_delay=config.policy_delay,
        smoothing_std=config.smoothing_std,
        smoothing_clip=config.smoothing_clip,
        exploration_std=config.exploration_std,
        reward_scale=config.reward_scale,
    )
    learner = td3.learner(
        actor, off_policy.make_critic(config), *off_policy.make_optimizers(config), **(arguments | slots)
    )
    return off_policy.normalized(config, learner)


hyperparameters, make_program, make_build, make_train = off_policy.wire(make_learner, SWEEPABLE)
