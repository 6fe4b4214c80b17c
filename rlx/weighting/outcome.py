"""Gates on the outcomes of a group of rollouts: which question is trained in which way; without gradient."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean
from rlx.types import Scalar, elements, like


def mixed_outcome(
    reward: Float[Array, "*batch"], *, where: Bool[Array, "*#batch"] | None = None, axis: int = -1
) -> Bool[Array, "..."]:
    """Gate of the groups with different outcomes, which a group-relative advantage can learn from (DAPO).

    gate = max R > min R over the valid rollouts of the group.

    Args:
        reward: outcome of each rollout [*batch, group].
        where: boolean mask, True where a rollout counts.
        axis: static; the group axis.

    Returns:
        One boolean per group [*batch]; False for a group with fewer than two valid rollouts.

    Raises:
        ValueError: if `reward` is not floating, `where` not boolean, or their shapes do not fit.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx import weighting
        >>> print(weighting.mixed_outcome(jnp.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])))
        [ True False]

    References:
        Zhu et al., 2026, "Bridging SFT and RL: Dynamic Policy Optimization for Robust Reasoning",
        arXiv:2604.08926 (questions of medium difficulty).
        Yu et al., 2025, "DAPO: An Open-Source LLM Reinforcement Learning System at Scale", arXiv:2503.14476
        (dynamic sampling).
    """
    (kept,) = elements(reward=reward, where=where)
    mask = jnp.broadcast_to(True if where is None else where, kept.shape)
    highest = jnp.max(kept, axis, where=mask, initial=-jnp.inf)
    return highest > jnp.min(kept, axis, where=mask, initial=jnp.inf)


def performance_gate(
    reward: Float[Array, "*batch"],
    *,
    threshold: Scalar = 0.0,
    where: Bool[Array, "*#batch"] | None = None,
    axis: int = -1,
) -> Bool[Array, "..."]:
    """Gate of the groups that fail, which learn from a demonstration instead of from their rollouts (HPT).

    gate = mean R ≤ threshold over the valid rollouts of the group. With outcomes in {0, 1} and threshold 0 it is
    "no rollout succeeded". The loss of a question is supervised where True and reinforced where False.

    Args:
        reward: outcome of each rollout, without format terms [*batch, group].
        threshold: largest mean outcome at which demonstrations are used; the published settings for 8 rollouts are
            0 and 2/8.
        where: boolean mask, True where a rollout counts.
        axis: static; the group axis.

    Returns:
        One boolean per group [*batch]; False for a group without a valid rollout.

    Raises:
        ValueError: if `reward` is not floating, `where` not boolean, or their shapes do not fit.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx import weighting
        >>> print(weighting.performance_gate(jnp.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])))
        [ True False]

    References:
        Lv et al., 2025, "Towards a Unified View of Large Language Model Post-Training", arXiv:2509.04419 (HPT).
    """
    (kept,) = elements(reward=reward, where=where)
    (threshold,) = like(kept, threshold)
    graded = jnp.any(jnp.broadcast_to(True if where is None else where, kept.shape), axis)
    return graded & (mean(reward, where=where, axis=axis) <= threshold)
