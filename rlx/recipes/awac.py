"""AWAC wired up: `rlx.make_train("awac", dataset="hopper.hdf5", env="brax:hopper")`."""

from __future__ import annotations

import dataclasses
from typing import Any

from rlx.recipes import off_policy, offline
from rlx.recipes.settings import POSITIVE, setting


@dataclasses.dataclass(frozen=True)
class Config(offline.Valued):
    """Configuration of an AWAC run."""

    hidden_sizes: tuple[int, ...] = offline.other_default(offline.Feedforward, "hidden_sizes", (256, 256, 256))
    temperature: float = setting(1.0, "Temperature λ of the weights exp(A / λ).", within=POSITIVE, swept=True)
    max_weight: float = setting(100.0, "Largest weight of a sample.", within=POSITIVE, swept=True)


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
    """The config's AWAC learner for an environment.

    Args:
        config: the config.
        environment: what its networks are made for.
        num_updates: of the run.
        data: what `rlx.recipes.offline.load` gave; None loads it.
        policy: a `rlx.policies.Network` that gives an `ActionDistribution`, in place of the config's.
        critic: an ensemble of action values, in place of the config's.
        optimizer: an `optax.GradientTransformation` of the policy, in place of Adam.
        critic_optimizer: of the critics, in place of Adam.
        **slots: further keywords of `rlx.algorithms.awac.learner`.
    """
    from rlx import policies
    from rlx.algorithms import awac

    if policy is None:
        policy = offline.gaussian(environment.action_space, config.hidden_sizes, log_std_bounds=(-20.0, 2.0))
    critic = policies.action_critic(config.critic_sizes) if critic is None else critic
    arguments = dict(
        temperature=config.temperature, max_weight=config.max_weight, discount=config.discount, tau=config.tau
    )
    learner = awac.learner(
        policy, critic, *off_policy.make_optimizers(config, optimizer, critic_optimizer), **(arguments | slots)
    )
    return offline.normalized(config, learner, data)


RECIPE = offline.recipe("awac", "AWAC", Config, make_learner, "rlx.algorithms.awac:learner")
