"""ReBRAC: TD3+BC whose target, too, pays for the distance from the data's action.

References:
    Tarasov, Kurenkov, Nikulin, Kolesnikov (2023). Revisiting the Minimalist Approach to Offline Reinforcement Learning.
    arXiv:2305.09836.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from rlx.algorithms import td3
from rlx.algorithms.actor_critic import GradientStep, Slots
from rlx.algorithms.learner import Learner
from rlx.losses.policy import value_maximization
from rlx.policies import Network
from rlx.regularizers.behavior import action_distance
from rlx.types import Scalar


def learner(
    actor: Network,
    critic: Network,
    actor_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    *,
    actor_beta: Scalar = 1.0,
    critic_beta: Scalar = 1.0,
    normalize_q: bool = True,
    added: Sequence[Slots] = (),
    **settings,
) -> Learner:
    """ReBRAC: TD3 with a distance from the data's actions in the actor's loss and in the critics' target::

        y   = r + γ·(1 − terminated)·(min_i Q̄_i(s', a') − β_c·Σ_d (a' − â')²)
        L_π = mean −λ·min_i Q_i(s, π(s)) + β_a·Σ_d (π(s) − a)²,    λ = 1 / mean |min_i Q_i(s, π(s))|

    The data's next action â' is `next_action` of the batch's extras, as `rlx.data.sample` gives it; where an
    episode was cut, none is known, and nothing is paid.

    Args:
        actor: deterministic policy.
        critic: ensemble of action values, with layer normalization in the paper.
        actor_optimizer: transformation of the actor's gradient.
        critic_optimizer: transformation of the critics' gradient.
        actor_beta: β_a.
        critic_beta: β_c.
        normalize_q: λ as above, or 1 (static).
        added: slots of further methods.
        **settings: the others of `rlx.algorithms.td3.learner`.
    """

    def next_distance(step: GradientStep) -> Float[Array, " sample"]:
        following = step.batch.extras["next_action"]
        return critic_beta * action_distance(
            step.next_action, following, reduce="sum", where=~jnp.asarray(step.batch.truncated, bool)
        )

    def smallest_value(step: GradientStep) -> Float[Array, " sample"]:
        q = critic.apply(step.state.params["critic"], step.batch.observation, step.action)
        return value_maximization(jnp.min(q, axis=0), alpha=1.0 if normalize_q else None)

    def distance(step: GradientStep) -> Float[Array, " sample"]:
        return actor_beta * action_distance(step.action, step.batch.action, reduce="sum")

    own = Slots(target_penalty=next_distance, actor_loss=smallest_value, actor_penalty=distance)
    return td3.learner(actor, critic, actor_optimizer, critic_optimizer, added=(own, *added), **settings)
