"""SAC wired up: `rlx.make_train("sac", env="rlx:pendulum")`."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from rlx.recipes import acting, off_policy
from rlx.recipes.presets.off_policy import SAC
from rlx.recipes.settings import POSITIVE, setting
from rlx.recipes.wiring import Recipe


@dataclasses.dataclass(frozen=True)
class Config(off_policy.ActorCritic):
    """Configuration of a SAC run."""

    initial_temperature: float = setting(1.0, "Temperature α at the start.", within=POSITIVE, swept=True)
    fixed_temperature: bool = setting(False, "Do not tune the temperature α.")
    target_entropy: float = setting(
        -1.0,
        "Entropy that the tuning of α aims at, in nats per dimension of the action, of actions in [-1, 1].",
        swept=True,
    )
    temperature_learning_rate: float | None = setting(
        None, "Adam's step size for log α; None takes the policy's.", within=POSITIVE, swept=True
    )
    std: Literal["exp", "softplus"] = setting(
        "exp",
        "Scale of the policy: exp of a logarithm clipped to [-20, 2], or softplus, at least 0.001.",
        group="network",
    )
    initial_std: float = setting(1.0, "Scale of the policy at the start.", group="network", within=POSITIVE)


def make_learner(
    config: Config,
    environment: Any,
    *,
    num_updates: int,
    data: Any = None,
    policy: Any = None,
    critic: Any = None,
    optimizer: Any = None,
    critic_optimizer: Any = None,
    temperature_optimizer: Any = None,
    **slots: Any,
):
    """The config's SAC learner for an environment.

    Args:
        config: the config.
        environment: what its networks are made for.
        num_updates: of the run.
        data: nothing.
        policy: a `rlx.policies.Network` that gives an `ActionDistribution`, in place of the config's.
        critic: an ensemble of action values, in place of the config's.
        optimizer: an `optax.GradientTransformation` of the policy, in place of Adam.
        critic_optimizer: of the critics, in place of Adam.
        temperature_optimizer: of log α, in place of Adam.
        **slots: further keywords of `rlx.algorithms.sac.learner`.
    """
    import optax

    from rlx import policies
    from rlx.algorithms import sac

    space = environment.action_space
    if policy is None:
        policy = policies.policy(
            space,
            config.hidden_sizes,
            kind="tanh",
            activation=config.activation,
            initialization=config.initialization,
            initial_std=config.initial_std,
            log_std_bounds=(-20.0, 2.0) if config.std == "exp" else None,
        )
    critic = off_policy.make_critic(config) if critic is None else critic
    rate = config.learning_rate if config.temperature_learning_rate is None else config.temperature_learning_rate
    temperature_optimizer = optax.adam(rate) if temperature_optimizer is None else temperature_optimizer
    arguments = dict(
        discount=config.discount,
        tau=config.tau,
        initial_temperature=config.initial_temperature,
        target_entropy=config.target_entropy * space.shape[0],
        reward_scale=config.reward_scale,
    )
    learner = sac.learner(
        *acting.viewing(config, environment, policy=policy, critic=critic),
        *off_policy.make_optimizers(config, optimizer, critic_optimizer),
        None if config.fixed_temperature else temperature_optimizer,
        **(arguments | slots),
    )
    return off_policy.normalized(config, learner)


RECIPE = Recipe(
    name="sac",
    title="SAC",
    config=Config,
    make_environment=acting.make_environment,
    make_learner=make_learner,
    make_source=off_policy.make_source,
    make_evaluator=acting.make_evaluator,
    core="rlx.algorithms.sac:learner",
    presets=SAC,
    examples=("rlx train sac --env rlx:pendulum", "rlx train sac --env brax:hopper --seeds 4 --total-steps 2e5"),
)
