"""Keeping what was right as likely as it was."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from rlx.types import check_broadcast, elements


def likelihood_displacement(
    log_prob: Float[Array, "..."],
    behavior_log_prob: Float[Array, "..."],
    advantage: Float[Array, "..."],
    *,
    segment: Int[Array, "..."] | None = None,
    num_segments: int | None = None,
    where: Bool[Array, "..."] | None = None,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Penalty on tokens that became less likely in good responses that as a whole became less likely (LLDS).

    With δ_t = log π_b − log π and the unit of a token, its response or its segment,
    L_t = max(0, δ_t) where A ≥ 0 and Σ_{s in unit of t} m·δ_s > 0, otherwise L_t = 0. The gate is constant. To
    spare the tokens of a final answer (LLDS-MA), leave them out of `where`.

    Args:
        log_prob: log-probabilities of the tokens [*batch, token] under the policy in training; carries the
            gradient.
        behavior_log_prob: the same under the policy that generated them; a constant.
        advantage: advantage A of the whole response [*batch]; a constant.
        segment: id of the action that a token belongs to [*batch, token], from 1 to num_segments, 0 for none;
            None makes the response the unit.
        num_segments: static; the largest id, None for as many as there are tokens.
        where: boolean mask m, True where a token counts.
        axis: static; the token axis.

    Returns:
        Penalty per token [*batch, token], 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, a `segment` that is not integer, or
            unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.regularizers import behavior
        >>> log_prob, behavior_log_prob = jnp.array([[-2.0, -1.0], [-2.0, -1.0]]), jnp.array([-1.0, -1.5])
        >>> print(behavior.likelihood_displacement(log_prob, behavior_log_prob, jnp.array([1.0, -1.0])))
        [[1. 0.]
         [0. 0.]]

    References:
        Deng et al., 2025, "On GRPO Collapse in Search-R1: The Lazy Likelihood-Displacement Death Spiral",
        arXiv:2512.04220 (gate and penalty as in three public re-implementations).
    """
    log_prob, behavior_log_prob, advantage = elements(
        log_prob=log_prob,
        behavior_log_prob=behavior_log_prob,
        advantage=jnp.expand_dims(advantage, axis),
        where=where,
    )
    displacement = lax.stop_gradient(behavior_log_prob) - log_prob
    if segment is None:
        total = jnp.sum(displacement, axis, keepdims=True)
    else:
        total = _segment_total(displacement, segment, num_segments, axis)
    gate = lax.stop_gradient((advantage >= 0) & (total > 0))
    return jnp.where(gate, jax.nn.relu(displacement), 0)


def _segment_total(x: Array, segment: Array, num_segments: int | None, axis: int) -> Array:
    """Sum over the tokens of the same segment, at each of its tokens; 0 outside of all segments."""
    check_broadcast(log_prob=x, segment=segment)
    if not jnp.issubdtype(segment.dtype, jnp.integer):
        raise ValueError(f"segment must be an integer array of ids, got dtype {segment.dtype}")
    count = x.shape[axis] if num_segments is None else num_segments
    rows = jnp.moveaxis(lax.stop_gradient(x), axis, -1)
    ids = jnp.moveaxis(jnp.broadcast_to(segment, x.shape), axis, -1)

    def of_row(row: Array, ids: Array) -> Array:
        totals = jax.ops.segment_sum(row, ids, count + 1).at[0].set(0)
        return totals.at[ids].get(mode="fill", fill_value=0)

    total = jnp.vectorize(of_row, signature="(t),(t)->(t)")(rows, ids)
    return jnp.moveaxis(total, -1, axis)
