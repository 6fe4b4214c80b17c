"""TD3 wired up: `rlx.make_train("td3", env="rlx:pendulum")`."""

from __future__ import annotations

import dataclasses
from typing import Any

from rlx.recipes import acting, off_policy
from rlx.recipes.presets.off_policy import TD3
from rlx.recipes.settings import COUNT, NOT_NEGATIVE, setting
from rlx.recipes.wiring import Recipe


@dataclasses.dataclass(frozen=True)
class Delayed:
    """What TD3 has wherever its experience comes from: a policy that learns more seldom, and smoothed targets."""

    policy_delay: int = setting(
        2, "Gradient steps of the critics for one of the policy; divides the gradient steps of an update.", within=COUNT
    )
    smoothing_std: float = setting(
        0.2,
        "Noise on the target policy's actions, in units of half the action's range.",
        within=NOT_NEGATIVE,
        swept=True,
    )
    smoothing_clip: float = setting(
        0.5,
        "Largest noise on the target policy's actions, in units of half the action's range.",
        within=NOT_NEGATIVE,
        swept=True,
    )


@dataclasses.dataclass(frozen=True)
class Config(off_policy.ActorCritic, Delayed):
    """Configuration of a TD3 run."""

    exploration_std: float = setting(
        0.1, "Noise on actions, in units of half the action's range.", within=NOT_NEGATIVE, swept=True
    )


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
    **slots: Any,
):
    """The config's TD3 learner for an environment.

    Args:
        config: the config.
        environment: what its networks are made for.
        num_updates: of the run.
        data: nothing.
        policy: a `rlx.policies.Network` that gives an action within the bounds, in place of the config's.
        critic: an ensemble of action values, in place of the config's.
        optimizer: an `optax.GradientTransformation` of the policy, in place of Adam.
        critic_optimizer: of the critics, in place of Adam.
        **slots: further keywords of `rlx.algorithms.td3.learner`.
    """
    from rlx import policies
    from rlx.algorithms import td3

    space = environment.action_space
    if policy is None:
        policy = policies.deterministic(
            space, config.hidden_sizes, activation=config.activation, initialization=config.initialization
        )
    critic = off_policy.make_critic(config) if critic is None else critic
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
        *acting.viewing(config, environment, policy=policy, critic=critic),
        *off_policy.make_optimizers(config, optimizer, critic_optimizer),
        **(arguments | slots),
    )
    return off_policy.normalized(config, learner)


RECIPE = Recipe(
    name="td3",
    title="TD3",
    config=Config,
    make_environment=acting.make_environment,
    make_learner=make_learner,
    make_source=off_policy.make_source,
    make_evaluator=acting.make_evaluator,
    core="rlx.algorithms.td3:learner",
    presets=TD3,
    examples=("rlx train td3 --env rlx:pendulum", "rlx train td3 --env brax:hopper --seeds 4 --total-steps 2e5"),
)
