"""TD3+BC: TD3 with a penalty on the distance of the policy's action from the data's.

References:
    Fujimoto, Gu (2021). A Minimalist Approach to Offline Reinforcement Learning. arXiv:2106.06860.
"""

from __future__ import annotations

import optax
from jaxtyping import Array, Float

from rlx.algorithms import td3
from rlx.algorithms.actor_critic import GradientStep
from rlx.algorithms.learner import Learner
from rlx.policies import Network
from rlx.regularizers.behavior import action_distance
from rlx.types import Scalar


def learner(
    actor: Network,
    critic: Network,
    actor_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    *,
    alpha: Scalar = 2.5,
    **settings,
) -> Learner:
    """TD3+BC: L_π = mean −λ·Q_1(s, π(s)) + mean_d (π(s) − a)², with λ = α / mean |Q_1(s, π(s))|.

    Args:
        actor: deterministic policy.
        critic: ensemble of action values.
        actor_optimizer: transformation of the actor's gradient.
        critic_optimizer: transformation of the critics' gradient.
        alpha: α, how much the value counts; 0 is behavior cloning.
        **settings: those of `rlx.algorithms.td3.learner`.
    """

    def distance(step: GradientStep) -> Float[Array, " sample"]:
        return action_distance(step.action, step.batch.action)

    return td3.learner(
        actor, critic, actor_optimizer, critic_optimizer, value_scale=alpha, actor_penalty=distance, **settings
    )
