"""TD3+BC wired up: `rlx.make_train("td3_bc", dataset="hopper.hdf5", env="brax:hopper")`."""

from __future__ import annotations

import dataclasses
from typing import Any

from rlx.recipes import off_policy, offline, offline_actor_critic
from rlx.recipes.settings import NOT_NEGATIVE, setting


@dataclasses.dataclass(frozen=True)
class Config(offline_actor_critic.Deterministic):
    """Configuration of a TD3+BC run."""

    alpha: float = setting(
        2.5,
        "How much the value counts against the distance from the data's action; 0 is behavior cloning.",
        within=NOT_NEGATIVE,
        swept=True,
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
    added: Any = (),
    **slots: Any,
):
    """The config's TD3+BC learner for an environment.

    Args:
        config: the config.
        environment: what its networks are made for.
        num_updates: of the run.
        data: what `rlx.recipes.offline.load` gave; None loads it.
        policy: a `rlx.policies.Network` that gives an action within the bounds, in place of the config's.
        critic: an ensemble of action values, in place of the config's.
        optimizer: an `optax.GradientTransformation` of the policy, in place of Adam.
        critic_optimizer: of the critics, in place of Adam.
        added: slots of further methods, `rlx.algorithms.actor_critic.Slots`.
        **slots: further keywords of `rlx.algorithms.td3_bc.learner`.
    """
    from rlx import policies
    from rlx.algorithms import td3_bc

    space = environment.action_space
    policy = policies.deterministic(space, config.hidden_sizes) if policy is None else policy
    critic, bisimulation = offline_actor_critic.critics(config, critic)
    learner = td3_bc.learner(
        policy,
        critic,
        *off_policy.make_optimizers(config, optimizer, critic_optimizer),
        added=(*bisimulation, *added),
        **(offline_actor_critic.td3_settings(config, space) | {"alpha": config.alpha} | slots),
    )
    return offline.normalized(config, learner, data)


RECIPE = offline.recipe("td3_bc", "TD3+BC", Config, make_learner, "rlx.algorithms.td3_bc:learner")
