"""What the configs of offline learners have in common, and the networks that they are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from rlx.recipes.offline import Config


@dataclasses.dataclass(frozen=True)
class Feedforward(Config):
    """A policy that sees one observation."""

    hidden_sizes: tuple[int, ...] = (256, 256)
    """Hidden layers of the policy."""


@dataclasses.dataclass(frozen=True)
class Valued(Feedforward):
    """A policy with values beside it, which rewards are for."""

    sweepable = (*Feedforward.sweepable, "critic_learning_rate", "discount", "tau")

    reward_scaling: Literal["none", "return_range"] = "none"
    """return_range: rewards times 1000 / (best return - worst return) of the dataset."""
    reward_scale: float = 1.0
    """Multiplies rewards."""
    reward_shift: float = 0.0
    """Added to rewards after that."""
    critic_learning_rate: float = 3e-4
    """Adam's step size for critics and values."""
    discount: float = 0.99
    """γ."""
    tau: float = 0.005
    """How far target networks move in an update."""
    critic_hidden_sizes: tuple[int, ...] | None = None
    """Hidden layers of critics and values; None takes the policy's."""

    @property
    def critic_sizes(self) -> tuple[int, ...]:
        """Hidden layers of critics and values."""
        return self.hidden_sizes if self.critic_hidden_sizes is None else self.critic_hidden_sizes

    @property
    def bootstrap(self) -> dict:
        """Discount and target rate."""
        return {"discount": self.discount, "tau": self.tau}


@dataclasses.dataclass(frozen=True)
class ActorCritic(Valued):
    """An actor-critic, whose critics may see observations through features that are as far apart as what follows."""

    sweepable = (*Valued.sweepable, "bisimulation_weight")

    bisimulation_weight: float | None = None
    """Weight of the bisimulation loss of the critics' features; None for critics without an encoder. A sweep that
    holds 0 compares at equal networks."""
    encoder_sizes: tuple[int, ...] = (256,)
    """Hidden layers of the encoder, with bisimulation."""
    feature_size: int = 50
    """Features of an observation, with bisimulation."""
    model_sizes: tuple[int, ...] = (256,)
    """Hidden layers of the models of reward and next features, with bisimulation."""

    @property
    def critic_options(self) -> dict:
        """What the networks of the critics differ by from the usual ones."""
        return {}

    @property
    def settings(self) -> dict:
        """What every learner of this kind takes."""
        return self.bootstrap | {"added": self.added}

    def critics(self):
        """The ensemble of critics."""
        if self.bisimulation_weight is None:
            return critic(self.critic_sizes, **self.critic_options)
        return self.encoded().critic

    def encoded(self):
        """The ensemble of critics with encoders."""
        from rlx import policies

        sizes = self.encoder_sizes, self.critic_sizes
        return policies.encoded_critic(*sizes, feature_size=self.feature_size, **self.critic_options)

    @property
    def added(self) -> tuple:
        """Slots beside those of the method."""
        if self.bisimulation_weight is None:
            return ()
        import gymnasium
        import numpy as np

        from rlx.algorithms import offline

        features = gymnasium.spaces.Box(-np.inf, np.inf, (self.feature_size,))
        return (
            offline.bisimulation(
                self.encoded(),
                value(self.model_sizes),
                gaussian(features, self.model_sizes, squash="identity", state_dependent_std=True),
                *adam(self.critic_learning_rate),
                weight=self.bisimulation_weight,
                discount=self.discount,
            ),
        )


def actor(space: Any, sizes: Sequence[int], **options):
    """A deterministic policy."""
    from rlx import policies

    return policies.deterministic(space, sizes, **options)


def gaussian(space: Any, sizes: Sequence[int], **options):
    """A Gaussian policy, initialized as PyTorch does."""
    from rlx import policies

    return policies.gaussian_policy(space, sizes, **{"activation": "relu", "initialization": "uniform"} | options)


def critic(sizes: Sequence[int], **options):
    """An ensemble of action values."""
    from rlx import policies

    return policies.action_critic(sizes, **options)


def value(sizes: Sequence[int], **options):
    """A state value, initialized as PyTorch does."""
    from rlx import policies

    return policies.critic(sizes, **{"activation": "relu", "initialization": "uniform"} | options)


def adam(*rates):
    """Adam with each of the step sizes."""
    import optax

    return tuple(optax.adam(rate) for rate in rates)


def bounds(space: Any) -> dict:
    """The bounds of the actions, by the names that learners have for them."""
    import jax.numpy as jnp

    return {"low": jnp.asarray(space.low), "high": jnp.asarray(space.high)}
