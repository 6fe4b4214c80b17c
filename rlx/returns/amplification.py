"""Advantages of a group of rollouts in which what succeeded counts for more. Results are constants."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.returns.group import group_relative
from rlx.types import Scalar, check_choice, elements, like


def amplified(
    reward: Float[Array, "*batch"],
    *,
    factor: Scalar = 3.0,
    success: Scalar = 1.0,
    where: Bool[Array, "*#batch"] | None = None,
    axis: int = -1,
    baseline: str = "mean",
    temperature: Scalar = 1.0,
) -> Float[Array, "*batch"]:
    """Advantage in a group, of 1 for a success and multiplied where it is positive (R³L).

    With s = R − b, A = 1 where R ≥ success, else A = factor · s where s ≥ 0, else A = s. The baseline b is
    mean R of the group, or temperature · (logsumexp(R / temperature) − log count); of a group of one it is 0.
    A group of successes thus has A = 1, a push to imitate all of them. The paper's loss is
    `rlx.losses.policy.policy_gradient` with scale 1/2.

    Args:
        reward: reward of each rollout [*batch, group].
        factor: how much more a positive advantage counts.
        success: reward from which on a rollout is a success.
        where: boolean mask, True where a rollout counts.
        axis: static; the group axis.
        baseline: static; "mean" or "logavgexp".
        temperature: of the "logavgexp" baseline; a large one makes it the mean, a small one the maximum.

    Returns:
        Advantages of the same shape, without gradient, 0 where masked.

    Raises:
        ValueError: for an unknown `baseline`, a non-floating `reward`, a non-boolean `where`, or unfitting
            shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import returns
        >>> print(np.asarray(returns.amplified(jnp.array([0.0, 0.6, 0.0, 1.0]))).round(3))
        [-0.4  0.6 -0.4  1. ]

    References:
        Shi et al., 2026, "R³L: Reflect-then-Retry Reinforcement Learning with Language-Guided Exploration,
        Pivotal Credit, and Positive Amplification", arXiv:2601.03715.
    """
    check_choice("baseline", baseline, ("mean", "logavgexp"))
    (reward,) = lax.stop_gradient(elements(reward=reward, where=where))
    factor, success, temperature = like(reward, factor, success, temperature)
    mask = jnp.broadcast_to(True if where is None else where, reward.shape)
    count = jnp.sum(mask, axis, keepdims=True)
    if baseline == "mean":
        score = group_relative(reward, where=mask, axis=axis, scale="none")
    else:
        total = jax.nn.logsumexp(reward / temperature, axis, where=mask, keepdims=True)
        score = reward - temperature * (total - jnp.log(count.astype(reward.dtype)))
    score = jnp.where(count == 1, reward, score)
    advantage = jnp.where(reward >= success, 1, jnp.where(score >= 0, factor * score, score))
    return jnp.where(mask, advantage, 0)
