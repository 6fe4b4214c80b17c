"""What recipes of actor-critics that learn from a dataset have in common: their critics, and the settings of TD3."""

from __future__ import annotations

import dataclasses
from typing import Any

from rlx.recipes import offline, td3
from rlx.recipes.settings import COUNT, NOT_NEGATIVE, setting


@dataclasses.dataclass(frozen=True)
class ActorCritic(offline.Valued):
    """An actor-critic, whose critics may see observations through features that are as far apart as what follows."""

    bisimulation_weight: float | None = setting(
        None,
        "Weight of the bisimulation loss of the critics' features; None for critics without an encoder. A sweep that "
        "holds 0 compares at equal networks.",
        within=NOT_NEGATIVE,
        swept=True,
    )
    encoder_sizes: tuple[int, ...] = setting(
        (256,), "Hidden layers of the encoder, with bisimulation.", group="network", within=COUNT
    )
    feature_size: int = setting(50, "Features of an observation, with bisimulation.", group="network", within=COUNT)
    model_sizes: tuple[int, ...] = setting(
        (256,),
        "Hidden layers of the models of reward and next features, with bisimulation.",
        group="network",
        within=COUNT,
    )


@dataclasses.dataclass(frozen=True)
class Deterministic(ActorCritic, td3.Delayed):
    """An actor-critic that is TD3 with a penalty."""


def critics(config: ActorCritic, critic: Any, **options: Any) -> tuple[Any, tuple]:
    """The ensemble of critics, and the slots that the bisimulation of its features takes, if the config asks for it.

    Args:
        config: the config.
        critic: in place of the config's, or None.
        **options: those of `rlx.policies.action_critic` that the method prescribes.

    Raises:
        ValueError: bisimulation of a critic that is not the config's, whose encoder is not known.
    """
    import gymnasium
    import numpy as np

    from rlx import policies
    from rlx.algorithms import bisimulation

    if config.bisimulation_weight is None:
        return policies.action_critic(config.critic_sizes, **options) if critic is None else critic, ()
    if critic is not None:
        raise ValueError("bisimulation_weight is of the config's critics: with another critic, give `added`")
    encoded = policies.encoded_critic(
        config.encoder_sizes, config.critic_sizes, feature_size=config.feature_size, **options
    )
    features = gymnasium.spaces.Box(-np.inf, np.inf, (config.feature_size,))
    slots = bisimulation.slots(
        encoded,
        offline.state_value(config.model_sizes),
        offline.gaussian(features, config.model_sizes, squash="identity", state_dependent_std=True),
        offline.adam(config.critic_learning_rate),
        weight=config.bisimulation_weight,
        discount=config.discount,
    )
    return encoded.critic, (slots,)


def td3_settings(config: Deterministic, action_space: Any) -> dict[str, Any]:
    """The settings of TD3 that are not a method's."""
    import jax.numpy as jnp

    return {
        "discount": config.discount,
        "tau": config.tau,
        "policy_delay": config.policy_delay,
        "smoothing_std": config.smoothing_std,
        "smoothing_clip": config.smoothing_clip,
        "low": jnp.asarray(action_space.low),
        "high": jnp.asarray(action_space.high),
    }
