"""Masks that keep the elements of highest, lowest or random rank; without gradient.

They select by rank, so that how many are kept is a number that may be traced, and so swept by `vmap`.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from rlx.ordinals import first_true, from_ordinal, ordinal
from rlx.types import Scalar, check_mask, elements


def quantile_mask(
    score: Float[Array, "*#batch"],
    *,
    quantile: Scalar = 0.8,
    where: Bool[Array, "*#batch"] | None = None,
    axis: int = -1,
) -> Bool[Array, "*batch"]:
    """Mask of the elements above a quantile of their row (SIREN).

    mask = m and score > Q, with Q the `quantile` of the row's valid scores (linear interpolation).

    Args:
        score: what is compared [*batch], for example an entropy per token.
        quantile: share of the row in [0, 1] that Q is above.
        where: boolean mask m, True where an element counts.
        axis: static; the axis of a row, most often the tokens of one response.

    Returns:
        Boolean mask of the broadcast shape, False where masked; nothing is kept of a row of equal scores.

    Raises:
        ValueError: for a non-floating `score`, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx import weighting
        >>> print(weighting.quantile_mask(jnp.array([[0.1, 0.2, 0.4, 0.3, 5.0]]), quantile=0.6))
        [[False False  True False  True]]

    References:
        Jiang et al., 2025, "Rethinking Entropy Regularization in Large Reasoning Models", arXiv:2509.25133
        (entropy peaks of a response).
    """
    score, mask = _valid(score, where)
    ordered = jnp.sort(jnp.where(mask, score, jnp.inf), axis)
    count = jnp.sum(mask, axis, keepdims=True, dtype=jnp.int32)
    # No score lies between the two neighbors that Q is interpolated from: above Q is above the lower one.
    below = _share_of(count - 1, quantile)
    return mask & (score > jnp.take_along_axis(ordered, jnp.maximum(below, 0), axis))


def extreme_mask(
    score: Float[Array, "*#batch"],
    *,
    fraction: Scalar,
    where: Bool[Array, "*#batch"] | None = None,
    largest: bool = True,
    minimum: Scalar = 1,
) -> Bool[Array, "*batch"]:
    """Mask of the given fraction of all elements whose scores are the largest, or the smallest (KL-Cov, Lp-Reg).

    mask = m and rank < k, with k = max(minimum, ⌊fraction · n⌋) of the n valid elements of the whole array, and
    rank 0 the most extreme score. Of equal scores the earlier element has the lower rank.

    Args:
        score: what is ranked [*batch].
        fraction: share of the valid elements to keep, in [0, 1].
        where: boolean mask m, True where an element counts.
        largest: static; whether the largest scores are kept, or the smallest.
        minimum: least number of elements to keep, as far as there are any.

    Returns:
        Boolean mask of the broadcast shape, False where masked.

    Raises:
        ValueError: for a non-floating `score`, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx import weighting
        >>> print(weighting.extreme_mask(jnp.array([0.1, 0.9, 0.5, 0.7]), fraction=0.5))
        [False  True False  True]

    References:
        Cui et al., 2025, "The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models",
        arXiv:2505.22617 (largest covariances).
        Huang et al., 2025, "Low-probability Tokens Sustain Exploration in Reinforcement Learning with
        Verifiable Reward", arXiv:2510.03222 (smallest probabilities).
    """
    score, mask = _valid(score, where)
    count = jnp.maximum(_share_of(jnp.sum(mask, dtype=jnp.int32), fraction), minimum)
    return _smallest(-score if largest else score, count, mask)


def random_mask(key: PRNGKeyArray, *, count: Scalar, where: Bool[Array, "*batch"]) -> Bool[Array, "*batch"]:
    """Mask of a uniformly random subset of given size (Clip-Cov).

    mask = m and rank(u) < count, with u uniform noise, ranked among the valid elements.

    Args:
        key: a `jax.random.key`.
        count: number of elements to keep; all where there are fewer.
        where: boolean mask m [*batch], True where an element may be kept.

    Returns:
        Boolean mask of the same shape, False where masked.

    Raises:
        ValueError: for a non-boolean `where`.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from rlx import weighting
        >>> where = jnp.array([True, True, False, True])
        >>> mask = weighting.random_mask(jax.random.key(0), count=2, where=where)
        >>> print(int(mask.sum()), bool(mask[2]))
        2 False

    References:
        Cui et al., 2025, "The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models",
        arXiv:2505.22617 (the tokens that Clip-Cov drops).
    """
    check_mask(where)
    return _smallest(jax.random.uniform(key, where.shape, jnp.float32), count, where)


def _valid(score: Array, where: Array | None) -> tuple[Array, Array]:
    """The scores without gradient, and the mask, both of the full shape."""
    (score,) = lax.stop_gradient(elements(score=score, where=where))
    return score, jnp.broadcast_to(True if where is None else where, score.shape)


def _share_of(count: Array, fraction: Scalar) -> Array:
    """⌊fraction · count⌋, in float32 even for bfloat16 scores; what rounding took off must not cost an element."""
    share = jnp.asarray(fraction, jnp.float32) * count * (1 + 2 * jnp.finfo(jnp.float32).eps)
    return jnp.floor(share).astype(jnp.int32)


def _smallest(score: Array, count: Scalar, mask: Array) -> Array:
    """Mask of the `count` smallest valid scores, the earlier of equal ones, found by counting rather than sorting."""
    count = jnp.clip(jnp.asarray(count).astype(jnp.int32), 0, jnp.sum(mask, dtype=jnp.int32))
    total = lambda chosen: jnp.sum(mask & chosen, dtype=jnp.int32)
    ends = ordinal(jnp.array([-jnp.inf, jnp.inf], score.dtype))
    last = first_true(
        lambda middle: total(score <= from_ordinal(middle, score.dtype)) >= count, *ends, steps=ends.dtype.itemsize * 8
    )
    last = from_ordinal(last, score.dtype)
    below, tied = mask & (score < last), mask & (score == last)
    wanted = count - jnp.sum(below, dtype=jnp.int32)
    index = lax.iota(jnp.int32, score.size).reshape(score.shape)
    end = first_true(
        lambda middle: total(tied & (index < middle)) >= wanted,
        jnp.zeros((), jnp.int32),
        jnp.asarray(score.size, jnp.int32),
        steps=score.size.bit_length(),
    )
    return below | (tied & (index < end))
