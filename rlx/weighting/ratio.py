"""Weights and masks over tokens, samples, trajectories and datasets."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, check_choice, elements, like

LEVELS = ("token", "sequence", "sequence_mean", "prefix")


def importance_log_ratio(
    log_prob: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    *,
    where: Bool[Array, "*#batch"] | None = None,
    level: str = "token",
    bound: Scalar = 20.0,
    axis: int = -1,
) -> Float[Array, "*batch"]:
    """Log importance ratio of each token, or of the sequence it belongs to (GSPO).

    With ℓ_t = log_prob_t − behavior_log_prob_t and the mask m, the value is clip(a_t, ±bound) with
    a_t = ℓ_t (level "token"), Σ_t m·ℓ ("sequence"), Σ_t m·ℓ / Σ_t m ("sequence_mean"), Σ_{s≤t} m·ℓ
    ("prefix"). At every level the gradient is that of the own token, a_t = sg(a_t) + log_prob_t −
    sg(log_prob_t), and 0 beyond the bound.

    Args:
        log_prob: log-probability of the taken actions under the policy in training [*batch, token]; carries
            the gradient.
        behavior_log_prob: the same under the policy that generated the data; a constant.
        where: boolean mask m, True where a token counts.
        level: static; "token", "sequence", "sequence_mean" or "prefix".
        bound: largest absolute value returned; `jnp.inf` for none.
        axis: static; the token axis.

    Returns:
        Log-ratios of the broadcast shape, 0 where masked.

    Raises:
        ValueError: for an unknown `level`, a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx import weighting
        >>> log_prob, behavior_log_prob = jnp.array([-1.0, -1.0]), jnp.array([-1.5, -2.5])
        >>> print(weighting.importance_log_ratio(log_prob, behavior_log_prob))
        [0.5 1.5]
        >>> print(weighting.importance_log_ratio(log_prob, behavior_log_prob, level="sequence_mean"))
        [1. 1.]

    References:
        Zheng et al., 2025, "Group Sequence Policy Optimization", arXiv:2507.18071 (sequence_mean, its token
        form).
    """
    check_choice("level", level, LEVELS)
    log_prob, behavior_log_prob = elements(log_prob=log_prob, behavior_log_prob=behavior_log_prob, where=where)
    log_ratio = log_prob - lax.stop_gradient(behavior_log_prob)
    if level != "token":
        aggregate = lax.stop_gradient(_aggregate(log_ratio, where, level, axis))
        log_ratio = aggregate + (log_prob - lax.stop_gradient(log_prob))
        log_ratio = log_ratio if where is None else jnp.where(where, log_ratio, 0)
    (bound,) = like(log_ratio, bound)
    return jnp.clip(log_ratio, -bound, bound)


def _aggregate(log_ratio: Array, where: Array | None, level: str, axis: int) -> Array:
    if level == "prefix":
        return jnp.cumsum(log_ratio, axis)
    total = jnp.sum(log_ratio, axis, keepdims=True)
    if level == "sequence":
        return total
    mask = jnp.broadcast_to(True if where is None else where, log_ratio.shape)
    return total / jnp.maximum(jnp.sum(mask, axis, keepdims=True), 1).astype(total.dtype)
