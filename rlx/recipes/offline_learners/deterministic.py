"""Settings of the learners that are TD3 with a penalty on the distance from the data's actions."""

from __future__ import annotations

import dataclasses

from rlx.recipes.offline_learners import common
from rlx.recipes.offline_learners.common import ActorCritic


@dataclasses.dataclass(frozen=True)
class TD3(ActorCritic):
    """What the settings of all of them are beside the penalty's."""

    sweepable = (*ActorCritic.sweepable, "smoothing_std", "smoothing_clip")

    policy_delay: int = 2
    """Gradient steps of the critics for one of the policy."""
    smoothing_std: float = 0.2
    """Noise on the target policy's actions, in units of half the action's range."""
    smoothing_clip: float = 0.5
    """Largest such noise."""

    @property
    def td3(self) -> dict:
        """Settings of TD3 that are not the method's."""
        return self.settings | {
            "policy_delay": self.policy_delay,
            "smoothing_std": self.smoothing_std,
            "smoothing_clip": self.smoothing_clip,
        }

    def parts(self, space) -> tuple:
        """Actor, critics and their optimizers."""
        networks = common.actor(space, self.hidden_sizes), self.critics()
        return *networks, *common.adam(self.learning_rate, self.critic_learning_rate)


@dataclasses.dataclass(frozen=True)
class TD3BC(TD3):
    """TD3+BC."""

    algorithm = "td3_bc"
    sweepable = (*TD3.sweepable, "alpha")

    alpha: float = 2.5
    """How much the value counts against the distance from the data's action."""

    def learner(self, space, source, total_steps):
        from rlx.algorithms import offline

        return offline.td3_bc(*self.parts(space), alpha=self.alpha, **self.td3, **common.bounds(space))


@dataclasses.dataclass(frozen=True)
class PRDC(TD3BC):
    """PRDC."""

    algorithm = "prdc"
    sweepable = (*TD3BC.sweepable, "beta")

    beta: float = 2.0
    """How much a distance of states weighs against one of actions."""
    neighbor: int = 1
    """Which of the nearest transitions: 1 is the nearest."""
    chunk: int = 65_536
    """Transitions compared at a time."""

    def learner(self, space, source, total_steps):
        from rlx.algorithms import offline

        return offline.prdc(
            *self.parts(space),
            source.dataset.observation,
            source.dataset.action,
            alpha=self.alpha,
            beta=self.beta,
            k=self.neighbor,
            chunk=self.chunk,
            **self.td3,
            **common.bounds(space),
        )


@dataclasses.dataclass(frozen=True)
class A2PR(TD3BC):
    """A2PR."""

    algorithm = "a2pr"
    sweepable = (*TD3BC.sweepable, "mask_scale", "vae_weight", "vae_learning_rate")

    hidden_sizes: tuple[int, ...] = (256, 256, 256)
    """Hidden layers of the policy."""
    critic_hidden_sizes: tuple[int, ...] | None = (256, 256, 256, 256)
    """Hidden layers of critics and values; None takes the policy's."""
    mask_scale: float = 0.5
    """Weight of the penalty where an action is better than the state."""
    vae_weight: float = 1.0
    """Weight of the reconstruction of good actions."""
    vae_hidden_sizes: tuple[int, ...] = (750, 750)
    """Hidden layers of encoder and decoder."""
    vae_learning_rate: float = 1e-3
    """Adam's step size for both."""

    def learner(self, space, source, total_steps):
        from rlx import policies
        from rlx.algorithms import offline

        actor, critic, *optimizers = self.parts(space)
        return offline.a2pr(
            actor,
            critic,
            common.value(self.critic_sizes),
            policies.action_autoencoder(space, self.vae_hidden_sizes),
            *optimizers,
            *common.adam(self.critic_learning_rate, self.vae_learning_rate),
            alpha=self.alpha,
            mask_scale=self.mask_scale,
            vae_weight=self.vae_weight,
            **self.td3,
            **common.bounds(space),
        )


@dataclasses.dataclass(frozen=True)
class ReBRAC(TD3):
    """ReBRAC; both penalties want to be tuned for each dataset."""

    algorithm = "rebrac"
    sweepable = (*TD3.sweepable, "actor_beta", "critic_beta")

    batch_size: int = 1024
    """Transitions of a minibatch."""
    hidden_sizes: tuple[int, ...] = (256, 256, 256)
    """Hidden layers of the policy."""
    learning_rate: float = 1e-3
    """Adam's step size for the policy."""
    critic_learning_rate: float = 1e-3
    """Adam's step size for critics and values."""
    normalize_observation: bool = False
    """By mean and standard deviation over the dataset."""
    actor_beta: float = 1.0
    """Weight of the policy's distance from the data's action."""
    critic_beta: float = 1.0
    """Weight of the next action's distance from the data's, in the target."""

    @property
    def critic_options(self) -> dict:
        return {"layer_norm": True, "normalize_after": True, "hidden_bias": 0.1, "output_bound": 3e-3}

    def parts(self, space) -> tuple:
        """Actor, critics and their optimizers."""
        actor = common.actor(space, self.hidden_sizes, hidden_bias=0.1, output_bound=1e-3)
        return actor, self.critics(), *common.adam(self.learning_rate, self.critic_learning_rate)

    def learner(self, space, source, total_steps):
        from rlx.algorithms import offline

        betas = {"actor_beta": self.actor_beta, "critic_beta": self.critic_beta}
        return offline.rebrac(*self.parts(space), **betas, **self.td3, **common.bounds(space))
