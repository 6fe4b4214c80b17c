"""Every offline learner wired up: its settings, as its paper or the code that is commonly compared with has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from experiments import offline
from experiments.offline import Wired

__all__ = ["LEARNERS"]


def _actor(space, sizes: Sequence[int], **options):
    from rlx import policies

    return policies.deterministic(space, sizes, **options)


def _gaussian(space, sizes: Sequence[int], **options):
    from rlx import policies

    return policies.gaussian_policy(space, sizes, **{"activation": "relu", "initialization": "uniform"} | options)


def _critic(sizes: Sequence[int], **options):
    from rlx import policies

    return policies.action_critic(sizes, **options)


def _value(sizes: Sequence[int], **options):
    from rlx import policies

    return policies.critic(sizes, **{"activation": "relu", "initialization": "uniform"} | options)


def _adam(*rates):
    import optax

    return tuple(optax.adam(rate) for rate in rates)


def _bounds(space) -> dict:
    import jax.numpy as jnp

    return {"low": jnp.asarray(space.low), "high": jnp.asarray(space.high)}


@dataclasses.dataclass(frozen=True)
class _Common(offline.Config):
    """What the configs below read more than once."""

    @property
    def critic_sizes(self) -> tuple[int, ...]:
        """Hidden layers of critics and values."""
        return self.hidden_sizes if self.critic_hidden_sizes is None else self.critic_hidden_sizes

    @property
    def bootstrap(self) -> dict:
        """Discount and target rate."""
        return {"discount": self.discount, "tau": self.tau}


@dataclasses.dataclass(frozen=True)
class BC(_Common):
    """Behavior cloning with a deterministic policy. `--weighting top` makes it percentage BC."""

    algorithm = "bc"
    sweepable = ("learning_rate",)

    def learner(self, space, source, total_steps):
        from rlx.algorithms import in_sample

        return in_sample.bc(_actor(space, self.hidden_sizes), *_adam(self.learning_rate))


@dataclasses.dataclass(frozen=True)
class TD3BC(_Common):
    """TD3+BC."""

    algorithm = "td3_bc"
    sweepable = (*_Common.sweepable, "alpha", "smoothing_std", "smoothing_clip")

    alpha: float = 2.5
    """How much the value counts against the distance from the data's action."""
    policy_delay: int = 2
    """Gradient steps of the critics for one of the policy."""
    smoothing_std: float = 0.2
    """Noise on the target policy's actions, in units of half the action's range."""
    smoothing_clip: float = 0.5
    """Largest such noise."""

    @property
    def td3(self) -> dict:
        """Settings of TD3 that are not the method's."""
        return self.bootstrap | {
            "policy_delay": self.policy_delay,
            "smoothing_std": self.smoothing_std,
            "smoothing_clip": self.smoothing_clip,
        }

    def parts(self, space) -> tuple:
        """Actor, critics and their optimizers."""
        networks = _actor(space, self.hidden_sizes), _critic(self.critic_sizes)
        return *networks, *_adam(self.learning_rate, self.critic_learning_rate)

    def learner(self, space, source, total_steps):
        from rlx.algorithms import offline

        return offline.td3_bc(*self.parts(space), alpha=self.alpha, **self.td3, **_bounds(space))


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
            **_bounds(space),
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
            _value(self.critic_sizes),
            policies.action_autoencoder(space, self.vae_hidden_sizes),
            *optimizers,
            *_adam(self.critic_learning_rate, self.vae_learning_rate),
            alpha=self.alpha,
            mask_scale=self.mask_scale,
            vae_weight=self.vae_weight,
            **self.td3,
            **_bounds(space),
        )


@dataclasses.dataclass(frozen=True)
class ReBRAC(TD3BC):
    """ReBRAC; both penalties want to be tuned for each dataset."""

    algorithm = "rebrac"
    sweepable = (*(name for name in TD3BC.sweepable if name != "alpha"), "actor_beta", "critic_beta")

    alpha: float = 1.0
    """Mean absolute size of the value in the policy's loss: 1 in the paper, and fixed."""
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

    def parts(self, space) -> tuple:
        """Actor, critics and their optimizers."""
        actor = _actor(space, self.hidden_sizes, hidden_bias=0.1, output_bound=1e-3)
        critic = _critic(self.critic_sizes, layer_norm=True, normalize_after=True, hidden_bias=0.1, output_bound=3e-3)
        return actor, critic, *_adam(self.learning_rate, self.critic_learning_rate)

    def learner(self, space, source, total_steps):
        from rlx.algorithms import offline

        betas = {"actor_beta": self.actor_beta, "critic_beta": self.critic_beta}
        return offline.rebrac(*self.parts(space), **betas, **self.td3, **_bounds(space))


@dataclasses.dataclass(frozen=True)
class IQL(_Common):
    """Implicit Q-learning."""

    algorithm = "iql"
    sweepable = (*_Common.sweepable, "expectile", "beta", "max_weight")

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
        cosine = lambda step: self.learning_rate * (1 + jnp.cos(jnp.pi * jnp.minimum(step / total_steps, 1))) / 2
        return in_sample.iql(
            _gaussian(space, self.hidden_sizes, bounded_mean=True, log_std_bounds=(-20.0, 2.0)),
            _value(self.critic_sizes),
            _critic(self.critic_sizes),
            optax.adam(cosine),
            *_adam(self.critic_learning_rate, self.critic_learning_rate),
            expectile=self.expectile,
            beta=self.beta,
            max_weight=self.max_weight,
            **self.bootstrap,
        )


@dataclasses.dataclass(frozen=True)
class AWAC(_Common):
    """AWAC."""

    algorithm = "awac"
    sweepable = (*_Common.sweepable, "temperature", "max_weight")

    hidden_sizes: tuple[int, ...] = (256, 256, 256)
    """Hidden layers of the policy."""
    temperature: float = 1.0
    """Temperature of the weights."""
    max_weight: float = 100.0
    """Largest weight."""

    def learner(self, space, source, total_steps):
        from rlx.algorithms import in_sample

        return in_sample.awac(
            _gaussian(space, self.hidden_sizes, log_std_bounds=(-20.0, 2.0)),
            _critic(self.critic_sizes),
            *_adam(self.learning_rate, self.critic_learning_rate),
            temperature=self.temperature,
            max_weight=self.max_weight,
            **self.bootstrap,
        )


@dataclasses.dataclass(frozen=True)
class ODICE(_Common):
    """O-DICE; the paper tunes lambda and eta for each dataset."""

    algorithm = "odice"
    sweepable = (*_Common.sweepable, "lambda_", "eta", "max_weight", "weight_decay")

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
            _gaussian(space, self.hidden_sizes, log_std_bounds=(-5.0, 2.0)),
            policies.ensemble(_value(self.critic_sizes, layer_norm=True), 2),
            optax.chain(optax.add_decayed_weights(self.weight_decay), optax.adam(self.learning_rate)),
            *_adam(self.critic_learning_rate),
            lambda_=self.lambda_,
            eta=self.eta,
            gradient=self.gradient,
            divergence=self.divergence,
            max_weight=self.max_weight,
            **self.bootstrap,
        )


@dataclasses.dataclass(frozen=True)
class CQL(_Common):
    """Conservative Q-learning."""

    algorithm = "cql"
    sweepable = (*_Common.sweepable, "weight", "gap_temperature")
    calibrated = False

    hidden_sizes: tuple[int, ...] = (256, 256, 256)
    """Hidden layers of the policy."""
    learning_rate: float = 3e-5
    """Adam's step size for the policy, and for the temperature."""
    weight: float = 10.0
    """Weight of the gap between the soft maximum over actions and the data's action."""
    num_actions: int = 10
    """Actions of each of three kinds in the soft maximum."""
    gap_temperature: float = 1.0
    """Temperature of the soft maximum."""
    gap_target: float | None = None
    """Train a multiplier of the weight until the gap is this; None fixes the weight."""
    max_target_backup: bool = False
    """Targets take the best of several next actions."""
    backup_entropy: bool = False
    """Targets hold the entropy of the next action."""

    def learner(self, space, source, total_steps):
        import math

        from rlx.algorithms import offline

        return offline.cql(
            _gaussian(
                space,
                self.hidden_sizes,
                squash="tanh",
                state_dependent_std=True,
                initial_std=math.exp(-1),
                log_std_bounds=(-20.0, 2.0),
            ),
            _critic(self.critic_sizes),
            *_adam(self.learning_rate, self.critic_learning_rate, self.learning_rate),
            weight=self.weight,
            num_actions=self.num_actions,
            gap_temperature=self.gap_temperature,
            gap_target=self.gap_target,
            calibrated=self.calibrated,
            max_target_backup=self.max_target_backup,
            backup_entropy=self.backup_entropy,
            **self.bootstrap,
            **_bounds(space),
        )


@dataclasses.dataclass(frozen=True)
class CalQL(CQL):
    """Calibrated Q-learning: CQL that pushes no value below the data's return-to-go."""

    algorithm = "cal_ql"
    # Returns-to-go are computed before anything is compiled, with one discount.
    sweepable = tuple(name for name in CQL.sweepable if name != "discount")
    calibrated = True
    needs_return_to_go = True

    hidden_sizes: tuple[int, ...] = (256, 256)
    """Hidden layers of the policy."""
    learning_rate: float = 1e-4
    """Adam's step size for the policy, and for the temperature."""
    weight: float = 5.0
    """Weight of the gap between the soft maximum over actions and the data's action."""
    max_target_backup: bool = True
    """Targets take the best of several next actions."""


@dataclasses.dataclass(frozen=True)
class SACN(_Common):
    """SAC-N: SAC with many critics."""

    algorithm = "sac_n"

    hidden_sizes: tuple[int, ...] = (256, 256, 256)
    """Hidden layers of the policy."""
    num_critics: int = 10
    """Critics, the smallest value of which counts; up to 500 for SAC-N."""
    total_steps: int = 3_000_000
    """Gradient steps of each seed (rounded up to whole updates)."""
    normalize_observation: bool = False
    """By mean and standard deviation over the dataset."""

    def parts(self, space) -> tuple:
        """Policy, critics and their optimizers."""
        policy = _gaussian(
            space,
            self.hidden_sizes,
            squash="tanh",
            state_dependent_std=True,
            log_std_bounds=(-5.0, 2.0),
            hidden_bias=0.1,
            output_bound=1e-3,
        )
        critic = _critic(self.critic_sizes, num=self.num_critics, hidden_bias=0.1, output_bound=3e-3)
        return policy, critic, *_adam(self.learning_rate, self.critic_learning_rate, self.learning_rate)

    def learner(self, space, source, total_steps):
        from rlx.algorithms import offline

        return offline.sac_n(*self.parts(space), **self.bootstrap)


@dataclasses.dataclass(frozen=True)
class EDAC(SACN):
    """EDAC: SAC-N whose critics are kept diverse."""

    algorithm = "edac"
    sweepable = (*SACN.sweepable, "eta")

    eta: float = 1.0
    """Weight of the critics' agreement on the direction of better actions; 0 is SAC-N."""

    def learner(self, space, source, total_steps):
        from rlx.algorithms import offline

        return offline.edac(*self.parts(space), eta=self.eta, **self.bootstrap)


LEARNERS = {
    kind.algorithm: Wired(kind, kind.sweepable)
    for kind in (BC, TD3BC, ReBRAC, A2PR, PRDC, IQL, AWAC, ODICE, CQL, CalQL, SACN, EDAC)
}
"""Every learner by its name on the command line."""
