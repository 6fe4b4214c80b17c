"""SAC wired up: one config, from an environment's name to a program that trains in it.

from rlx.recipes.sac import Config, make_train
train = make_train(Config.for_env("rlx:pendulum"))
state, metrics = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 8))
"""

from __future__ import annotations

import dataclasses
from typing import Literal

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
    """Configuration of a SAC run. Numbers listed in `SWEEPABLE` may be traced arrays; the rest is static."""

    algorithm = "sac"

    initial_temperature: float = 1.0
    """α at the start."""
    fixed_temperature: bool = False
    """Keep it there."""
    target_entropy: float = -1.0
    """Entropy that α is to bring about, in nats per dimension of the action."""
    temperature_learning_rate: float | None = None
    """Adam's step size for log α; None takes the policy's."""
    std: Literal["exp", "softplus"] = "exp"
    """How the policy's scale is made: exp, its logarithm clipped to [−20, 2], or softplus, at least 0.001."""
    initial_std: float = 1.0
    """Scale of the policy at the start."""


SWEEPABLE = (*off_policy.SWEEPABLE, "initial_temperature", "target_entropy", "temperature_learning_rate")
"""Hyperparameters that may be arrays: each can be an axis of a `vmap`."""


def make_learner(config: Config, environment: envs.Environment, num_updates: int | None = None, **slots):
    """The config's SAC learner for an environment; `slots` replace arguments of `rlx.algorithms.sac.learner`."""
    import optax

    from rlx import policies
    from rlx.algorithms import sac

    space = environment.action_space
    policy = policies.policy(
        space,
        config.hidden_sizes,
        kind="tanh",
        activation=config.activation,
        initialization=config.initialization,
        initial_std=config.initial_std,
        log_std_bounds=(-20.0, 2.0) if config.std == "exp" else None,
    )
    rate = config.learning_rate if config.temperature_learning_rate is None else config.temperature_learning_rate
    arguments = dict(
        discount=config.discount,
        tau=config.tau,
        initial_temperature=config.initial_temperature,
        target_entropy=config.target_entropy * space.shape[0],
        reward_scale=config.reward_scale,
    )
    learner = sac.learner(
        policy,
        off_policy.make_critic(config),
        *off_policy.make_optimizers(config),
        None if config.fixed_temperature else optax.adam(rate),
        **(arguments | slots),
    )
    return off_policy.normalized(config, learner)


hyperparameters, make_program, make_build, make_train = off_policy.wire(make_learner, SWEEPABLE)
