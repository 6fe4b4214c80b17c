"""Advantages within and between groups of rollouts, blended by how much a group agrees. Results are constants."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rlx.diagnostics.outcomes import outcome_entropy
from rlx.reduce import mean
from rlx.returns.group import group_relative
from rlx.types import Scalar, check_broadcast, like


def global_local(
    reward: Float[Array, "*batch group"],
    outcome: Int[Array, "*batch group"],
    *,
    sharpness: Scalar = 20.0,
    midpoint: Scalar = 1.5,
    epsilon: Scalar = 1e-6,
    where: Bool[Array, "..."] | None = None,
) -> tuple[Float[Array, "*batch group"], Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Advantages within each group and of each group over the others, and how to blend their losses (COPO).

    local = (R − mean_group R) / (std_group R + epsilon); with R̄ the mean reward of a group,
    global = (R̄ − mean R̄) / (std R̄ + epsilon) over the groups, the same for every rollout of a group; and
    weight = sigmoid(sharpness · (H − midpoint)), with H the group's `rlx.diagnostics.outcome_entropy`. The loss
    is weight · surrogate(local) + (1 − weight) · surrogate(global): a group that agrees, and so has no local
    advantage, is pushed up or down as a whole. H is at most log of the group's size: the midpoint, made for 8
    rollouts, is to be scaled with it.

    Args:
        reward: reward of each rollout [*batch, group].
        outcome: final answer of each rollout as an integer, equal for equal answers [*batch, group].
        sharpness: slope of the weight in the entropy of the outcomes.
        midpoint: entropy in nats at which both losses weigh the same.
        epsilon: added to the standard deviations.
        where: boolean mask, True where a rollout counts.

    Returns:
        (local [*batch, group], global [*batch], weight [*batch]), all without gradient; local is 0 where
        masked, and global for a group without rollouts.

    Raises:
        ValueError: for a non-floating `reward`, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import returns
        >>> reward, outcome = jnp.array([[1.0, 0.0], [1.0, 1.0]]), jnp.array([[0, 1], [0, 0]])
        >>> for result in returns.global_local(reward, outcome, midpoint=0.35):
        ...     print(np.asarray(result).round(3))
        [[ 0.707 -0.707]
         [ 0.     0.   ]]
        [-0.707  0.707]
        [0.999 0.001]

    References:
        Han et al., 2025, "COPO: Consistency-Aware Policy Optimization", arXiv:2508.04138.

    Reconstruction:
        Rests on the abstract and on two public summaries, which give the normalization over the batch, the
        sigmoid and its constants. That a group's reward is its mean, the natural logarithm, and that losses
        rather than advantages are blended are our reading.
    """
    check_broadcast(reward=reward, outcome=outcome, where=where)
    local = group_relative(reward, where=where, epsilon=epsilon)
    present = None if where is None else jnp.any(jnp.broadcast_to(where, local.shape), -1)
    between = group_relative(
        mean(reward, where=where, axis=-1), where=present, center="batch", scale="batch_std", epsilon=epsilon
    )
    entropy = outcome_entropy(outcome, where=where).astype(local.dtype)
    sharpness, midpoint = like(local, sharpness, midpoint)
    return local, between, jax.nn.sigmoid(sharpness * (entropy - midpoint))
