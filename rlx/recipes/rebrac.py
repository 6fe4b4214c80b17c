"""ReBRAC wired up: `rlx.make_train("rebrac", dataset="hopper.hdf5", env="brax:hopper")`."""

from __future__ import annotations

import dataclasses
from typing import Any

from rlx.recipes import off_policy, offline, offline_actor_critic
from rlx.recipes.presets.offline_data import REBRAC
from rlx.recipes.settings import NOT_NEGATIVE, setting


@dataclasses.dataclass(frozen=True)
class Config(offline_actor_critic.Deterministic):
    """Configuration of a ReBRAC run; both penalties want to be tuned for each dataset."""

    batch_size: int = offline.other_default(offline.Offline, "batch_size", 1024)
    hidden_sizes: tuple[int, ...] = offline.other_default(offline.Feedforward, "hidden_sizes", (256, 256, 256))
    learning_rate: float = offline.other_default(offline.Offline, "learning_rate", 1e-3)
    critic_learning_rate: float = offline.other_default(offline.Valued, "critic_learning_rate", 1e-3)
    normalize_observation: bool = offline.other_default(offline.Offline, "normalize_observation", False)
    actor_beta: float = setting(
        1.0, "Weight of the policy's distance from the data's action.", within=NOT_NEGATIVE, swept=True
    )
    critic_beta: float = setting(
        1.0,
        "Weight, in the critics' target, of the next action's distance from the data's.",
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
    """The config's ReBRAC learner for an environment.

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
        **slots: further keywords of `rlx.algorithms.rebrac.learner`.
    """
    from rlx import policies
    from rlx.algorithms import rebrac

    space = environment.action_space
    if policy is None:
        policy = policies.deterministic(space, config.hidden_sizes, hidden_bias=0.1, output_bound=1e-3)
    critic, bisimulation = offline_actor_critic.critics(
        config, critic, layer_norm=True, normalize_after=True, hidden_bias=0.1, output_bound=3e-3
    )
    betas = {"actor_beta": config.actor_beta, "critic_beta": config.critic_beta}
    learner = rebrac.learner(
        policy,
        critic,
        *off_policy.make_optimizers(config, optimizer, critic_optimizer),
        added=(*bisimulation, *added),
        **(offline_actor_critic.td3_settings(config, space) | betas | slots),
    )
    return offline.normalized(config, learner, data)


RECIPE = offline.recipe(
    "rebrac",
    "ReBRAC",
    Config,
    make_learner,
    "rlx.algorithms.rebrac:learner",
    presets=REBRAC,
    about="Both penalties want to be tuned for each dataset.",
)
