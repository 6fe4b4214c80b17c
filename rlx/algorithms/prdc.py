"""PRDC: TD3+BC that stays near the nearest pair of the whole dataset.

References:
    Ran, Li, Zhang, Zhang, Yu (2023). Policy Regularization with Dataset Constraint for Offline Reinforcement Learning.
    arXiv:2306.06569.
"""

from __future__ import annotations

import optax
from jaxtyping import Array, Float

from rlx.algorithms import td3_bc
from rlx.algorithms.actor_critic import GradientStep
from rlx.algorithms.learner import Learner
from rlx.policies import Network
from rlx.regularizers.behavior import dataset_constraint
from rlx.types import Scalar


def learner(
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
        **settings: `added`, and those of `rlx.algorithms.td3.learner`.
    """

    def distance(step: GradientStep) -> Float[Array, " sample"]:
        return dataset_constraint(
            step.batch.observation, step.action, data_observation, data_action, beta=beta, k=k, chunk=chunk
        )

    return td3_bc.learner(actor, critic, actor_optimizer, critic_optimizer, alpha=alpha, penalty=distance, **settings)
