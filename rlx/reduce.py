"""From a loss per element to one number: the aggregation is the caller's explicit choice.

On sequences of different lengths the choice is a bias: `token_mean` lets long sequences weigh more,
`sequence_mean` makes each of their tokens weigh less, `constant_length` does neither.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, check_choice, elements, like


def mean(
    x: Float[Array, "*batch"],
    *,
    where: Bool[Array, "*#batch"] | None = None,
    axis: int | tuple[int, ...] | None = None,
) -> Float[Array, "..."]:
    """Mean over the elements that count.

    mean = Σ m·x / Σ m, and 0 where nothing counts; sums are taken in at least float32.

    Args:
        x: values [*batch].
        where: boolean mask m, True where an element counts.
        axis: static; the axis or axes to reduce, all by default.

    Returns:
        The mean, with the reduced axes removed.

    Raises:
        ValueError: if `x` is not floating, `where` not boolean, or their shapes do not fit.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx import reduce
        >>> x = jnp.array([1.0, 3.0, jnp.nan])
        >>> print(reduce.mean(x, where=jnp.array([True, True, False])))
        2.0

    References:
        Schulman et al., 2017, "Proximal Policy Optimization Algorithms", arXiv:1707.06347 (the empirical
        average of its objectives).
    """
    (kept,) = elements(x=x, where=where)
    if where is None:
        return jnp.mean(kept, axis)
    wide = jnp.promote_types(kept.dtype, jnp.float32)
    count = jnp.sum(jnp.broadcast_to(where, kept.shape), axis, dtype=wide)
    return (jnp.sum(kept, axis, dtype=wide) / jnp.maximum(count, 1)).astype(kept.dtype)


def token_mean(x: Float[Array, "*batch token"], *, where: Bool[Array, "..."] | None = None) -> Float[Array, ""]:
    """Mean over all tokens of all sequences, in which every token weighs the same (DAPO).

    token_mean = Σ_i Σ_t m_it·x_it / Σ_i Σ_t m_it.

    Args:
        x: values per token [*batch, token].
        where: boolean mask m, True where a token counts.

    Returns:
        A scalar; 0 where no token counts.

    Raises:
        ValueError: if `x` is not floating, `where` not boolean, or their shapes do not fit.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import reduce
        >>> loss = jnp.array([[1.0, 1.0, 1.0, 1.0], [2.0, 0.0, 0.0, 0.0]])
        >>> print(np.asarray(reduce.token_mean(loss, where=loss > 0)).round(3))
        1.2

    References:
        Yu et al., 2025, "DAPO: An Open-Source LLM Reinforcement Learning System at Scale", arXiv:2503.14476.
    """
    return mean(x, where=where)


def sequence_mean(
    x: Float[Array, "*batch token"],
    *,
    where: Bool[Array, "..."] | None = None,
    inner: str = "mean",
    empty: str = "skip",
    axis: int = -1,
) -> Float[Array, ""]:
    """Mean over sequences of the mean or the sum within each sequence (GRPO).

    sequence_mean = (1/N) Σ_i s_i, with s_i = Σ_t m_it·x_it / Σ_t m_it (inner "mean") or Σ_t m_it·x_it (inner
    "sum").

    Args:
        x: values per token [*batch, token].
        where: boolean mask m, True where a token counts.
        inner: static; "mean" or "sum" within a sequence.
        empty: static; a sequence without a valid token is left out of N ("skip") or counts as 0 ("count").
        axis: static; the token axis.

    Returns:
        A scalar; 0 where no token counts.

    Raises:
        ValueError: for an unknown `inner` or `empty`, a non-floating `x`, a non-boolean `where`, or unfitting
            shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx import reduce
        >>> loss = jnp.array([[1.0, 1.0, 1.0, 1.0], [2.0, 0.0, 0.0, 0.0]])
        >>> print(reduce.sequence_mean(loss, where=loss > 0))
        1.5
        >>> print(reduce.sequence_mean(loss, where=loss > 0, inner="sum"))
        3.0

    References:
        Shao et al., 2024, "DeepSeekMath", arXiv:2402.03300 (GRPO's length-normalized objective).
        Jiang et al., 2025, "Rethinking Entropy Regularization in Large Reasoning Models", arXiv:2509.25133
        (counts empty sequences).
    """
    check_choice("inner", inner, ("mean", "sum"))
    check_choice("empty", empty, ("skip", "count"))
    (kept,) = elements(x=x, where=where)
    per_sequence = mean(x, where=where, axis=axis) if inner == "mean" else jnp.sum(kept, axis)
    if where is None or empty == "count":
        return mean(per_sequence)
    return mean(per_sequence, where=jnp.any(jnp.broadcast_to(where, kept.shape), axis))


def constant_length(
    x: Float[Array, "*batch token"],
    *,
    length: Scalar,
    where: Bool[Array, "..."] | None = None,
    axis: int = -1,
) -> Float[Array, ""]:
    """Sum over tokens divided by one fixed length, averaged over sequences: no length bias (Dr. GRPO).

    constant_length = Σ_i Σ_t m_it·x_it / (N · length), N the number of sequences, empty ones included. Some
    frameworks divide by `length` alone; multiply by N to compare.

    Args:
        x: values per token [*batch, token].
        length: the divisor of every sequence, most often the generation limit in tokens.
        where: boolean mask m, True where a token counts.
        axis: static; the token axis.

    Returns:
        A scalar.

    Raises:
        ValueError: if `x` is not floating, `where` not boolean, or their shapes do not fit.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx import reduce
        >>> loss = jnp.array([[1.0, 1.0, 1.0, 1.0], [2.0, 0.0, 0.0, 0.0]])
        >>> print(reduce.constant_length(loss, length=4, where=loss > 0))
        0.75

    References:
        Liu et al., 2025, "Understanding R1-Zero-Like Training: A Critical Perspective", arXiv:2503.20783 (Dr.
        GRPO).
    """
    (length,) = like(x, length)
    return sequence_mean(x, where=where, inner="sum", empty="count", axis=axis) / length
