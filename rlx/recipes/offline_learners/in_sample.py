"""Settings of the learners that imitate the data's actions, each as much as it is worth."""

from __future__ import annotations

import dataclasses
from typing import Literal

from rlx.recipes.offline_learners import common
from rlx.recipes.offline_learners.common import Feedforward, Valued


@dataclasses.dataclass(frozen=True)
class BC(Feedforward):
    """Behavior cloning with a deterministic policy. `--weighting top` makes it percentage BC."""

    algorithm = "bc"

    def learner(self, space, source, total_steps):
        from rlx.algorithms import in_sample

        return in_sample.bc(common.actor(space, self.hidden_sizes), *common.adam(self.learning_rate))


@dataclasses.dataclass(frozen=True)
class IQL(Valued):
    """Implicit Q-learning."""

    algorithm = "iql"
    sweepable = (*Valued.sweepable, "expectile", "beta", "max_weight")

    reward_scaling: Literal["none", "return_range"] = "return_range"
    """return_range: rewards times 1000 / (best return - worst return) of the dataset."""
    expectile: float = 0.7
    """Expectile of the data's values; 0.9 where stitching needs optimism."""
    beta: float = 3.0
    """Inverse temperature of the weights."""
    max_weight: float = 100.0
    """Largest weight."""

    def learner(self, space, source, total_steps):
        import jax.numpy as jnp
        import optax

        from rlx.algorithms import in_sample

        # A product, since optax's own schedule would test whether a traced step size is zero.
        rate = self.learning_rate
        cosine = lambda step: rate * (1 + jnp.cos(jnp.pi * jnp.minimum(step / total_steps, 1))) / 2
        return in_sample.iql(
            common.gaussian(space, self.hidden_sizes, bounded_mean=True, log_std_bounds=(-20.0, 2.0)),
            common.value(self.critic_sizes),
            common.critic(self.critic_sizes),
            optax.adam(cosine),
            *common.adam(self.critic_learning_rate, self.critic_learning_rate),
            expectile=self.expectile,
            beta=self.beta,
            max_weight=self.max_weight,
            **self.bootstrap,
        )


@dataclasses.dataclass(frozen=True)
class AWAC(Valued):
    """AWAC."""

    algorithm = "awac"
    sweepable = (*Valued.sweepable, "temperature", "max_weight")

    hidden_sizes: tuple[int, ...] = (256, 256, 256)
    """Hidden layers of the policy."""
    temperature: float = 1.0
    """Temperature of the weights."""
    max_weight: float = 100.0
    """Largest weight."""

    def learner(self, space, source, total_steps):
        from rlx.algorithms import in_sample

        return in_sample.awac(
            common.gaussian(space, self.hidden_sizes, log_std_bounds=(-20.0, 2.0)),
            common.critic(self.critic_sizes),
            *common.adam(self.learning_rate, self.critic_learning_rate),
            temperature=self.temperature,
            max_weight=self.max_weight,
            **self.bootstrap,
        )


@dataclasses.dataclass(frozen=True)
class ODICE(Valued):
    """O-DICE; the paper tunes lambda and eta for each dataset."""

    algorithm = "odice"
    sweepable = (*Valued.sweepable, "lambda_", "eta", "max_weight", "weight_decay")

    hidden_sizes: tuple[int, ...] = (1024, 1024)
    """Hidden layers of the policy."""
    critic_hidden_sizes: tuple[int, ...] | None = (256, 256)
    """Hidden layers of critics and values; None takes the policy's."""
    learning_rate: float = 2e-4
    """Adam's step size for the policy."""
    critic_learning_rate: float = 2e-4
    """Adam's step size for critics and values."""
    normalize_observation: bool = False
    """By mean and standard deviation over the dataset."""
    reward_scaling: Literal["none", "return_range"] = "return_range"
    """return_range: rewards times 1000 / (best return - worst return) of the dataset."""
    lambda_: float = 0.6
    """Share of the residuals in the value's loss."""
    eta: float = 1.0
    """Weight of the backward gradient; 0 is the semi-gradient."""
    gradient: Literal["orthogonal", "semi", "true"] = "orthogonal"
    """How the value's two gradients are combined."""
    divergence: Literal["pearson", "reverse_kl"] = "pearson"
    """Divergence of the visitation from the data's."""
    max_weight: float = 100.0
    """Largest weight."""
    weight_decay: float = 1e-4
    """L2 penalty on the policy's parameters, through Adam."""

    def learner(self, space, source, total_steps):
        import optax

        from rlx import policies
        from rlx.algorithms import in_sample

        return in_sample.odice(
            common.gaussian(space, self.hidden_sizes, log_std_bounds=(-5.0, 2.0)),
            policies.ensemble(common.value(self.critic_sizes, layer_norm=True), 2),
            optax.chain(optax.add_decayed_weights(self.weight_decay), optax.adam(self.learning_rate)),
            *common.adam(self.critic_learning_rate),
            lambda_=self.lambda_,
            eta=self.eta,
            gradient=self.gradient,
            divergence=self.divergence,
            max_weight=self.max_weight,
            **self.bootstrap,
        )
