"""A2PR wired up: `rlx.make_train("a2pr", dataset="hopper.hdf5", env="brax:hopper")`."""

from __future__ import annotations

import dataclasses
from typing import Any

from rlx.recipes import off_policy, offline, offline_actor_critic, td3_bc
from rlx.recipes.settings import COUNT, NOT_NEGATIVE, POSITIVE, setting


@dataclasses.dataclass(frozen=True)
class Config(td3_bc.Config):
    """Configuration of an A2PR run."""

    hidden_sizes: tuple[int, ...] = offline.other_default(offline.Feedforward, "hidden_sizes", (256, 256, 256))
    critic_hidden_sizes: tuple[int, ...] | None = offline.other_default(
        offline.Valued, "critic_hidden_sizes", (256, 256, 256, 256)
    )
    mask_scale: float = setting(
        0.5, "Weight of the penalty where an action is better than the state.", within=NOT_NEGATIVE, swept=True
    )
    vae_weight: float = setting(1.0, "Weight of the reconstruction of good actions.", within=NOT_NEGATIVE, swept=True)
    vae_hidden_sizes: tuple[int, ...] = setting(
        (750, 750), "Hidden layers of the autoencoder's two halves.", group="network", within=COUNT
    )
    vae_learning_rate: float = setting(1e-3, "Adam's step size for the autoencoder.", within=POSITIVE, swept=True)


def make_learner(
    config: Config,
    environment: Any,
    *,
    num_updates: int,
    data: Any = None,
    policy: Any = None,
    critic: Any = None,
    value: Any = None,
    autoencoder: Any = None,
    optimizer: Any = None,
    critic_optimizer: Any = None,
    value_optimizer: Any = None,
    autoencoder_optimizer: Any = None,
    added: Any = (),
    **slots: Any,
):
    """The config's A2PR learner for an environment.

    Args:
        config: the config.
        environment: what its networks are made for.
        num_updates: of the run.
        data: what `rlx.recipes.offline.load` gave; None loads it.
        policy: a `rlx.policies.Network` that gives an action within the bounds, in place of the config's.
        critic: an ensemble of action values, in place of the config's.
        value: a state value, in place of the config's.
        autoencoder: a `rlx.policies.ActionAutoencoder`, in place of the config's.
        optimizer: an `optax.GradientTransformation` of the policy, in place of Adam.
        critic_optimizer: of the critics, in place of Adam.
        value_optimizer: of the value, in place of Adam.
        autoencoder_optimizer: of the autoencoder, in place of Adam.
        added: slots of further methods, `rlx.algorithms.actor_critic.Slots`.
        **slots: further keywords of `rlx.algorithms.a2pr.learner`.
    """
    from rlx import policies
    from rlx.algorithms import a2pr

    space = environment.action_space
    policy = policies.deterministic(space, config.hidden_sizes) if policy is None else policy
    critic, bisimulation = offline_actor_critic.critics(config, critic)
    value = offline.state_value(config.critic_sizes) if value is None else value
    autoencoder = policies.action_autoencoder(space, config.vae_hidden_sizes) if autoencoder is None else autoencoder
    arguments = dict(alpha=config.alpha, mask_scale=config.mask_scale, vae_weight=config.vae_weight)
    learner = a2pr.learner(
        policy,
        critic,
        value,
        autoencoder,
        *off_policy.make_optimizers(config, optimizer, critic_optimizer),
        offline.adam(config.critic_learning_rate, value_optimizer),
        offline.adam(config.vae_learning_rate, autoencoder_optimizer),
        added=(*bisimulation, *added),
        **(offline_actor_critic.td3_settings(config, space) | arguments | slots),
    )
    return offline.normalized(config, learner, data)


RECIPE = offline.recipe("a2pr", "A2PR", Config, make_learner, "rlx.algorithms.a2pr:learner")
