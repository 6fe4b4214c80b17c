"""From judgements of passages to rewards of tokens."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rlx.types import check_broadcast, floating


def span_to_token(
    score: Float[Array, "*#batch"], start: Int[Array, "*#batch"], end: Int[Array, "*#batch"], *, length: int
) -> Float[Array, "..."]:
    """Scores of spans of text, such as +1 for praised and −1 for criticized words, as a reward per token (Text2Grad).

    r_t = Σ_s score_s·[start_s ≤ t < end_s]: overlaps add, and a span of n tokens is rewarded n times over. Align
    spans with token boundaries first. Together with `rlx.rewards.kl_shaped`, `rlx.returns.gae` and
    `rlx.returns.group_relative` (center "batch", scale "batch_std") it gives Text2Grad's advantages.

    Args:
        score: score of each span [*batch, span]; carries the gradient.
        start: first token of each span [*batch, span].
        end: token after the last of each span; an unused span has end = start.
        length: static; the number of tokens.

    Returns:
        Rewards [*batch, length], exactly 0 outside all spans.

    Raises:
        ValueError: for a non-floating `score`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx import rewards
        >>> score, start, end = jnp.array([1.0, -1.0]), jnp.array([0, 3]), jnp.array([2, 4])
        >>> print(rewards.span_to_token(score, start, end, length=5))
        [ 1.  1.  0. -1.  0.]

    References:
        Wang et al., 2025, "Text2Grad: Reinforcement Learning from Natural Language Feedback", arXiv:2505.22338.
    """
    check_broadcast(score=score, start=start, end=end)
    (score,) = floating(score=score)
    score, start, end = jnp.broadcast_arrays(score, start, end)
    used = start < end
    edges = jnp.clip(jnp.concatenate([start, end], -1), 0, length)

    def running_sum(x: Array) -> Array:
        """Sum over the spans that cover each token: x is added where a span starts and taken off where it ends."""
        x = jnp.where(used, x, 0)
        flat = jnp.concatenate([x, -x], -1).reshape(math.prod(edges.shape[:-1]), edges.shape[-1])
        rows = jnp.arange(len(flat))[:, None]
        steps = jnp.zeros((len(flat), length + 1), x.dtype).at[rows, edges.reshape(flat.shape)].add(flat)
        return jnp.cumsum(steps, -1)[:, :length].reshape(*edges.shape[:-1], length)

    # Scores need not cancel to the last digit behind their spans, the count of spans does.
    wide = running_sum(score.astype(jnp.promote_types(score.dtype, jnp.float32)))
    return jnp.where(running_sum(used.astype(jnp.int32)) > 0, wide, 0).astype(score.dtype)
