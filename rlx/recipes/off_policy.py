"""What recipes of off-policy actor-critics have in common: a replay, networks, Adam."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

from rlx.recipes import acting
from rlx.recipes.settings import COUNT, FRACTION, NOT_NEGATIVE, POSITIVE, SHARE, setting


@dataclasses.dataclass(frozen=True)
class OffPolicy(acting.Acting):
    """An environment, and a replay of what happened in it."""

    num_envs: int = setting(8, "Parallel environments of each seed.", group="scale", within=COUNT)
    unroll_length: int = setting(1, "Steps of each environment between two updates.", group="scale", within=COUNT)
    updates_per_step: int = setting(
        8,
        "Gradient steps of an update; as many as an update has environment steps is the papers' rate.",
        group="scale",
        within=COUNT,
    )
    batch_size: int = setting(256, "Transitions of a minibatch.", group="scale", within=COUNT)
    buffer_size: int = setting(
        1_000_000, "Transitions that the replay keeps; the oldest make room.", group="scale", within=COUNT
    )
    warmup_steps: int = setting(
        10_000, "Random environment steps of each seed before its first update.", group="scale", within=NOT_NEGATIVE
    )
    warmup_policy: Literal["uniform", "untrained"] = setting(
        "uniform",
        "Where the actions of the random steps come from: uniform, or untrained, the policy as it begins (Brax).",
        group="scale",
    )
    learning_rate: float = setting(3e-4, "Adam's step size.", within=POSITIVE, swept=True)
    discount: float = setting(0.99, "Discount γ.", within=FRACTION, swept=True)
    reward_scale: float = setting(1.0, "Factor of the rewards.", within=POSITIVE, swept=True)
    hidden_sizes: tuple[int, ...] = setting((256, 256), "Hidden layers of the policy.", group="network", within=COUNT)
    activation: Literal["tanh", "relu", "elu", "gelu", "silu"] = setting(
        "relu", "Activation of the hidden layers.", group="network"
    )
    normalize_observation: bool = setting(False, "Normalize observations by running mean and variance.")

    @property
    def initial_steps(self) -> int:
        """Environment steps of one seed before its first update."""
        return math.ceil(self.warmup_steps / self.num_envs) * self.num_envs

    @property
    def steps_per_update(self) -> int:
        """Environment steps of one update of one seed."""
        return self.num_envs * self.unroll_length


@dataclasses.dataclass(frozen=True)
class ActorCritic(OffPolicy):
    """An actor and an ensemble of critics of continuous actions."""

    critic_learning_rate: float | None = setting(
        None, "Adam's step size for the critics; None takes the actor's.", within=POSITIVE, swept=True
    )
    tau: float = setting(
        0.005, "How far target networks move towards the networks in an update.", within=SHARE, swept=True
    )
    critic_hidden_sizes: tuple[int, ...] | None = setting(
        None, "Hidden layers of the critics; None takes the policy's.", group="network", within=COUNT
    )
    num_critics: int = setting(
        2, "Critics; values are bootstrapped from the smallest of theirs.", group="network", within=COUNT
    )
    critic_layer_norm: Literal["none", "before", "after"] = setting(
        "none", "Layer normalization in the critics: none, before or after every activation.", group="network"
    )
    initialization: Literal["uniform", "lecun_uniform", "orthogonal"] = setting(
        "uniform",
        "Weights at the start: uniform within ±1/√inputs, biases too (PyTorch), lecun_uniform within ±√(3/inputs) "
        "(Brax), or orthogonal.",
        group="network",
    )


def make_source(config: OffPolicy, environment: Any, learner: Any, data: Any = None):
    """A replay of what happened."""
    from rlx.training import sources

    return sources.replay(
        acting.to_train_in(config, environment),
        learner,
        num_envs=config.num_envs,
        unroll_length=config.unroll_length,
        updates_per_step=config.updates_per_step,
        batch_size=config.batch_size,
        buffer_size=config.buffer_size,
        warmup_steps=config.warmup_steps,
        warmup_policy=config.warmup_policy,
    )


def make_critic(config: ActorCritic):
    """The config's ensemble of critics, of vectors."""
    from rlx import policies

    return policies.action_critic(
        config.hidden_sizes if config.critic_hidden_sizes is None else config.critic_hidden_sizes,
        num=config.num_critics,
        activation=config.activation,
        layer_norm=config.critic_layer_norm != "none",
        normalize_after=config.critic_layer_norm == "after",
        initialization=config.initialization,
    )


def make_optimizers(config: ActorCritic, optimizer: Any, critic_optimizer: Any) -> tuple[Any, Any]:
    """Adam for the actor and for the critics, where nothing else is given."""
    import optax

    critic_rate = config.learning_rate if config.critic_learning_rate is None else config.critic_learning_rate
    return (
        optax.adam(config.learning_rate) if optimizer is None else optimizer,
        optax.adam(critic_rate) if critic_optimizer is None else critic_optimizer,
    )


def normalized(config: OffPolicy, learner: Any):
    """The learner, on normalized observations if the config asks for it."""
    from rlx.algorithms import with_running_normalization

    return with_running_normalization(learner) if config.normalize_observation else learner
