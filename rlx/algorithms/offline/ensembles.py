"""SAC whose pessimism is the smallest of many critics."""

from __future__ import annotations

import optax
from jaxtyping import Array, Float

from rlx.algorithms import sac
from rlx.algorithms.actor_critic import Step, action_gradient
from rlx.algorithms.learner import Learner
from rlx.policies import Network
from rlx.regularizers.smoothness import ensemble_gradient_diversity
from rlx.types import Scalar


def sac_n(
    policy: Network,
    critic: Network,
    actor_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    temperature_optimizer: optax.GradientTransformation,
    **settings,
) -> Learner:
    """SAC-N: SAC as it is, with an ensemble of N critics in place of two.

    Args:
        policy: network that gives an `ActionDistribution`.
        critic: ensemble of N action values: 10 to 500.
        actor_optimizer: transformation of the policy's gradient.
        critic_optimizer: transformation of the critics' gradient.
        temperature_optimizer: transformation of the gradient of log α.
        **settings: those of `rlx.algorithms.sac.learner`.

    References:
        An, Moon, Kim, Song (2021). Uncertainty-Based Offline Reinforcement Learning with Diversified Q-Ensemble.
        arXiv:2110.01548.
    """
    return sac.learner(policy, critic, actor_optimizer, critic_optimizer, temperature_optimizer, **settings)


def edac(
    policy: Network,
    critic: Network,
    actor_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    temperature_optimizer: optax.GradientTransformation,
    *,
    eta: Scalar = 1.0,
    **settings,
) -> Learner:
    """EDAC: SAC-N whose critics are kept from agreeing on the direction of better actions, so that fewer suffice.

    L_Q = Σ_i mean (Q_i(s, a) − y)² + η·mean (1 / (N − 1)) Σ_{i≠j} u_i·u_j, with u_i the direction of ∇_a Q_i(s, a).

    Args:
        policy: network that gives an `ActionDistribution`.
        critic: ensemble of N action values: 10 to 50.
        actor_optimizer: transformation of the policy's gradient.
        critic_optimizer: transformation of the critics' gradient.
        temperature_optimizer: transformation of the gradient of log α.
        eta: η; 0 is SAC-N.
        **settings: those of `rlx.algorithms.sac.learner`.

    References:
        An, Moon, Kim, Song (2021). Uncertainty-Based Offline Reinforcement Learning with Diversified Q-Ensemble.
        arXiv:2110.01548.
    """

    def agreement(step: Step) -> Float[Array, " sample"]:
        gradient = action_gradient(critic, step.critic_params, step.batch.observation, step.batch.action)
        return eta * ensemble_gradient_diversity(gradient)

    return sac_n(
        policy,
        critic,
        actor_optimizer,
        critic_optimizer,
        temperature_optimizer,
        critic_penalty=agreement,
        **settings,
    )
