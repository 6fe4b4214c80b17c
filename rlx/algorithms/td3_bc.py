"""TD3+BC: TD3 with a penalty on the distance of the policy's action from the data's.

References:
    Fujimoto, Gu (2021). A Minimalist Approach to Offline Reinforcement Learning. arXiv:2106.06860.
"""

from __future__ import annotations

from collections.abc import Sequence

import optax
from jaxtyping import Array, Float

from rlx.algorithms import td3
from rlx.algorithms.actor_critic import GradientStep, Penalty, Slots, first_value
from rlx.algorithms.learner import Learner
from rlx.losses.policy import value_maximization
from rlx.policies import Network
from rlx.regularizers.behavior import action_distance
from rlx.types import Scalar


def scaled_value(critic: Network, alpha: Scalar) -> Penalty:
    """The actor's loss −λ·Q_1(s, π(s)), with λ = α / mean |Q_1(s, π(s))|."""
    return lambda step: value_maximization(first_value(critic, step), alpha=alpha)


def distance_from_data(step: GradientStep) -> Float[Array, " sample"]:
    """mean_d (π(s) − a)²."""
    return action_distance(step.action, step.batch.action)


def learner(
    actor: Network,
    critic: Network,
    actor_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    *,
    alpha: Scalar = 2.5,
    penalty: Penalty = distance_from_data,
    added: Sequence[Slots] = (),
    **settings,
) -> Learner:
    """TD3+BC: L_π = mean −λ·Q_1(s, π(s)) + mean_d (π(s) − a)², with λ = α / mean |Q_1(s, π(s))|.

    Args:
        actor: deterministic policy.
        critic: ensemble of action values.
        actor_optimizer: transformation of the actor's gradient.
        critic_optimizer: transformation of the critics' gradient.
        alpha: α, how much the value counts; 0 is behavior cloning.
        penalty: what keeps the actor near the data `[sample]`, of a `rlx.algorithms.actor_critic.GradientStep`.
        added: slots of further methods.
        **settings: the others of `rlx.algorithms.td3.learner`.
    """
    own = Slots(actor_loss=scaled_value(critic, alpha), actor_penalty=penalty)
    return td3.learner(actor, critic, actor_optimizer, critic_optimizer, added=(own, *added), **settings)
