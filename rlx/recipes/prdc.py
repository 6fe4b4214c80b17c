"""PRDC wired up: `rlx.make_train("prdc", dataset="hopper.hdf5", env="brax:hopper")`."""

from __future__ import annotations

import dataclasses
from typing import Any

from rlx.recipes import off_policy, offline, offline_actor_critic, td3_bc
from rlx.recipes.presets.offline import PRDC
from rlx.recipes.settings import COUNT, NOT_NEGATIVE, setting


@dataclasses.dataclass(frozen=True)
class Config(td3_bc.Config):
    """Configuration of a PRDC run."""

    beta: float = setting(
        2.0, "How much a distance of states weighs against one of actions.", within=NOT_NEGATIVE, swept=True
    )
    neighbor: int = setting(1, "Which of the nearest transitions counts: 1 is the nearest.", within=COUNT)
    chunk: int = setting(65_536, "Transitions of the dataset compared at a time.", within=COUNT)


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
    """The config's PRDC learner for an environment.

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
        **slots: further keywords of `rlx.algorithms.prdc.learner`.
    """
    from rlx import policies
    from rlx.algorithms import prdc

    data = offline.load(config) if data is None else data
    space = environment.action_space
    policy = policies.deterministic(space, config.hidden_sizes) if policy is None else policy
    critic, bisimulation = offline_actor_critic.critics(config, critic)
    arguments = dict(alpha=config.alpha, beta=config.beta, k=config.neighbor, chunk=config.chunk)
    learner = prdc.learner(
        policy,
        critic,
        *off_policy.make_optimizers(config, optimizer, critic_optimizer),
        data.dataset.observation,
        data.dataset.action,
        added=(*bisimulation, *added),
        **(offline_actor_critic.td3_settings(config, space) | arguments | slots),
    )
    return offline.normalized(config, learner, data)


RECIPE = offline.recipe(
    "prdc",
    "PRDC",
    Config,
    make_learner,
    "rlx.algorithms.prdc:learner",
    presets=PRDC,
    about="The defaults are those of the README of the paper's code for hopper and walker2d, beta 2; for halfcheetah "
    "it has --alpha 40.",
)
