"""SAC-N and EDAC: SAC whose pessimism is the smallest of many critics, which EDAC keeps apart.

References:
    An, Moon, Kim, Song (2021). Uncertainty-Based Offline Reinforcement Learning with Diversified Q-Ensemble.
    arXiv:2110.01548.
"""

from __future__ import annotations

from collections.abc import Sequence

import optax
from jaxtyping import Array, Float

from rlx.algorithms import sac
from rlx.algorithms.actor_critic import GradientStep, Slots, action_gradient
from rlx.algorithms.learner import Learner
from rlx.policies import Network
from rlx.regularizers.smoothness import ensemble_gradient_diversity
from rlx.types import Scalar


def learner(
    policy: Network,
    critic: Network,
    actor_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    temperature_optimizer: optax.GradientTransformation,
    *,
    eta: Scalar | None = 1.0,
    added: Sequence[Slots] = (),
    **settings,
) -> Learner:
    """EDAC: SAC whose critics are kept from agreeing on the direction of better actions, so that fewer suffice.

    L_Q = Σ_i mean (Q_i(s, a) − y)² + η·mean (1 / (N − 1)) Σ_{i≠j} u_i·u_j, with u_i the direction of ∇_a Q_i(s, a).
    SAC-N is SAC as it is, with N critics in place of two.

    Args:
        policy: network that gives an `ActionDistribution`.
        critic: ensemble of N action values: 10 to 50, for SAC-N up to 500.
        actor_optimizer: transformation of the policy's gradient.
        critic_optimizer: transformation of the critics' gradient.
        temperature_optimizer: transformation of the gradient of log α.
        eta: η; None is SAC-N, as is 0 at the cost of EDAC.
        added: slots of further methods.
        **settings: the others of `rlx.algorithms.sac.learner`.
    """

    def agreement(step: GradientStep) -> Float[Array, " sample"]:
        gradient = action_gradient(critic, step.state.params["critic"], step.batch.observation, step.batch.action)
        return eta * ensemble_gradient_diversity(gradient)

    own = Slots(critic_penalty=None if eta is None else agreement)
    return sac.learner(
        policy, critic, actor_optimizer, critic_optimizer, temperature_optimizer, added=(own, *added), **settings
    )
