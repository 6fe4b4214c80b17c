"""TD3 with a penalty on the distance of the policy's action from the data's."""

from __future__ import annotations

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from rlx.algorithms import td3
from rlx.algorithms.actor_critic import Step
from rlx.algorithms.learner import Learner
from rlx.policies import Network
from rlx.regularizers.behavior import action_distance, dataset_constraint
from rlx.types import Scalar


def td3_bc(
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

    References:
        Fujimoto, Gu (2021). A Minimalist Approach to Offline Reinforcement Learning. arXiv:2106.06860.
    """

    def distance(step: Step) -> Float[Array, " sample"]:
        return action_distance(step.action, step.batch.action)

    return td3.learner(
        actor, critic, actor_optimizer, critic_optimizer, value_scale=alpha, actor_penalty=distance, **settings
    )


def rebrac(
    actor: Network,
    critic: Network,
    actor_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    *,
    actor_beta: Scalar = 1.0,
    critic_beta: Scalar = 1.0,
    normalize_q: bool = True,
    **settings,
) -> Learner:
    """ReBRAC: TD3+BC whose target, too, pays for the distance from the data's next action.

    y = r + γ·(1 − terminated)·(min_i Q̄_i(s', a') − β_c·Σ_d (a' − â')²) and
    L_π = mean −λ·min_i Q_i(s, π(s)) + β_a·Σ_d (π(s) − a)², with λ = 1 / mean |min_i Q_i(s, π(s))|.
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
        **settings: those of `rlx.algorithms.td3.learner`.

    References:
        Tarasov, Kurenkov, Nikulin, Kolesnikov (2023). Revisiting the Minimalist Approach to Offline Reinforcement
        Learning. arXiv:2305.09836.
    """

    def next_distance(step: Step) -> Float[Array, " sample"]:
        following = step.batch.extras["next_action"]
        return critic_beta * action_distance(
            step.next_action, following, reduce="sum", where=~jnp.asarray(step.batch.truncated, bool)
        )

    def distance(step: Step) -> Float[Array, " sample"]:
        return actor_beta * action_distance(step.action, step.batch.action, reduce="sum")

    return td3.learner(
        actor,
        critic,
        actor_optimizer,
        critic_optimizer,
        actor_q="min",
        value_scale=1.0 if normalize_q else None,
        target_penalty=next_distance,
        actor_penalty=distance,
        **settings,
    )


def prdc(
    actor: Network,
    critic: Network,
    actor_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    data_observation: Float[Array, "row observation"],
    data_action: Float[Array, "row action"],
    *,
    alpha: Scalar = 2.5,
    beta: Scalar = 2.0,
    k: int = 1,
    chunk: int | None = 65_536,
    **settings,
) -> Learner:
    """PRDC: TD3+BC with the action of the nearest (β·s, a) of the whole dataset in place of the batch's.

    Args:
        actor: deterministic policy.
        critic: ensemble of action values.
        actor_optimizer: transformation of the actor's gradient.
        critic_optimizer: transformation of the critics' gradient.
        data_observation: all observations of the dataset, normalized as those of the batches are.
        data_action: their actions.
        alpha: α of TD3+BC.
        beta: β, how much a distance of states weighs against one of actions.
        k: which neighbor (static).
        chunk: rows compared at a time (static).
        **settings: those of `rlx.algorithms.td3.learner`.

    References:
        Ran, Li, Zhang, Zhang, Yu (2023). Policy Regularization with Dataset Constraint for Offline Reinforcement
        Learning. arXiv:2306.06569.
    """

    def distance(step: Step) -> Float[Array, " sample"]:
        return dataset_constraint(
            step.batch.observation, step.action, data_observation, data_action, beta=beta, k=k, chunk=chunk
        )

    return td3.learner(
        actor, critic, actor_optimizer, critic_optimizer, value_scale=alpha, actor_penalty=distance, **settings
    )
