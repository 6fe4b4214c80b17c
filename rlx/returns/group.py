"""Advantages along a group of rollouts of one prompt. Results are constants."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean
from rlx.types import Scalar, check_choice, elements, like


def group_relative(
    reward: Float[Array, "*batch"],
    *,
    where: Bool[Array, "*#batch"] | None = None,
    axis: int = -1,
    center: str = "group",
    scale: str = "std",
    ddof: Scalar = 1,
    epsilon: Scalar = 1e-6,
) -> Float[Array, "*batch"]:
    """Advantage of each rollout over the others of the same prompt, without a critic (GRPO, Dr. GRPO, RLOO).

    A = (R − μ) / (σ + epsilon), with μ the mean of the group, of the others of the group, of the batch, or 0,
    and σ the standard deviation of the rewards of the group, of the batch, or 1 without epsilon. (center, scale)
    = ("group", "std") is GRPO, ("group", "none") Dr. GRPO, ("group", "batch_std") Lite PPO, ("batch",
    "batch_std") REINFORCE++, ("leave_one_out", "none") RLOO. A group of equal rewards, or of one, has A = 0
    under center "group" and "leave_one_out".

    Args:
        reward: reward of each rollout [*batch, group].
        where: boolean mask, True where a rollout counts.
        axis: static; the group axis.
        center: static; "group", "leave_one_out", "batch" or "none".
        scale: static; "std" of the group, "batch_std" of all rewards, or "none".
        ddof: degrees of freedom taken from the count in the variance.
        epsilon: added to the standard deviation.

    Returns:
        Advantages of the same shape, without gradient, 0 where masked.

    Raises:
        ValueError: for an unknown `center` or `scale`, a non-floating `reward`, or an unfitting `where`.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import returns
        >>> reward = jnp.array([1.0, 0.0, 0.0, 1.0])
        >>> print(np.asarray(returns.group_relative(reward)).round(3))
        [ 0.866 -0.866 -0.866  0.866]
        >>> print(np.asarray(returns.group_relative(reward, center="leave_one_out", scale="none")).round(3))
        [ 0.667 -0.667 -0.667  0.667]

    References:
        Shao et al., 2024, "DeepSeekMath", arXiv:2402.03300 (GRPO).
        Liu et al., 2025, "Understanding R1-Zero-Like Training: A Critical Perspective", arXiv:2503.20783 (Dr.
        GRPO).
        Liu et al., 2025, "Part I: Tricks or Traps? A Deep Dive into RL for LLM Reasoning", arXiv:2508.08221
        (Lite PPO).
        Hu, 2025, "REINFORCE++", arXiv:2501.03262.
        Ahmadian et al., 2024, "Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human
        Feedback in LLMs", arXiv:2402.14740 (RLOO).
    """
    check_choice("center", center, ("group", "leave_one_out", "batch", "none"))
    check_choice("scale", scale, ("std", "batch_std", "none"))
    (reward,) = lax.stop_gradient(elements(reward=reward, where=where))
    mask = jnp.broadcast_to(True if where is None else where, reward.shape)
    ddof, epsilon = like(reward, ddof, epsilon)
    centered = reward if center == "none" else _centered(reward, mask, None if center == "batch" else axis)
    if center == "leave_one_out":
        # R − (n·μ − R) / (n − 1), the distance from the mean of the others.
        size = jnp.sum(mask, axis, keepdims=True).astype(reward.dtype)
        centered = centered * size / jnp.maximum(size - 1, 1)
    if scale == "none":
        return centered
    over = axis if scale == "std" else None
    variance = jnp.sum(jnp.square(_centered(reward, mask, over)), over, keepdims=True)
    count = jnp.sum(mask, over, keepdims=True).astype(reward.dtype)
    return centered / (jnp.sqrt(variance / jnp.maximum(count - ddof, 1)) + epsilon)


def _centered(x: Array, mask: Array, axis: int | None) -> Array:
    """Distance from the mean along `axis`. The lowest goes off first, so that equal values give exactly 0."""
    lowest = jnp.min(x, axis, keepdims=True, where=mask, initial=jnp.inf)
    shifted = jnp.where(mask, x - lowest, 0)
    average = mean(shifted, where=mask, axis=axis)
    return jnp.where(mask, shifted - (average if axis is None else jnp.expand_dims(average, axis)), 0)
