"""One reward out of several scores."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean
from rlx.types import check_choice, elements


def combine_scores(
    self_score: Float[Array, "*#batch"],
    similarity: Float[Array, "*#batch"],
    *,
    scale: str = "min_max",
    axis: int = -1,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Mean of two quality scores, each brought to a common scale first (Self-Judge).

    s = (n(self_score) + n(similarity)) / 2, with n(x) = (x − min x) / (max x − min x) for the scale "min_max", in
    [0, 1], or (x − mean x) / std x for "z". A score that is the same everywhere says nothing and gives n = 0.

    Args:
        self_score: a model's own grade of each response [*batch, response].
        similarity: similarity of each response to the gold answer, such as a cosine [*batch, response].
        scale: static; "min_max" or "z".
        axis: static; the axis along which the scales are found.
        where: boolean mask, True where a response counts.

    Returns:
        Combined scores of the broadcast shape, 0 where masked. Differentiable in both.

    Raises:
        ValueError: for an unknown `scale`, a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import rewards
        >>> self_score, similarity = jnp.array([1.0, 3.0, 5.0]), jnp.array([0.2, 0.8, 0.5])
        >>> print(np.asarray(rewards.combine_scores(self_score, similarity)).round(3))
        [0.   0.75 0.75]

    Reconstruction:
        The paper combines self-evaluation and cosine similarity and its released code has the result only in
        its data: the equal weights and the two scales are our reading.

    References:
        Ye and Ng, 2024, "Self-Judge: Selective Instruction Following with Alignment Self-Evaluation",
        arXiv:2409.00935.
    """
    check_choice("scale", scale, ("min_max", "z"))
    scores = jnp.broadcast_arrays(*elements(self_score=self_score, similarity=similarity, where=where))
    mask = jnp.broadcast_to(True if where is None else where, scores[0].shape)
    normalize = {"min_max": _min_max, "z": _standardize}[scale]
    first, second = (normalize(x, mask, axis) for x in scores)
    return (first + second) / 2


def _min_max(x: Array, mask: Array, axis: int) -> Array:
    low = jnp.min(x, axis, keepdims=True, where=mask, initial=jnp.inf)
    high = jnp.max(x, axis, keepdims=True, where=mask, initial=-jnp.inf)
    return jnp.where(mask & (high > low), x - low, 0) / jnp.where(high > low, high - low, 1)


def _standardize(x: Array, mask: Array, axis: int) -> Array:
    # From the distances to the lowest: equal scores then have a variance of exactly 0.
    shifted = jnp.where(mask, x - jnp.min(x, axis, keepdims=True, where=mask, initial=jnp.inf), 0)
    average = jnp.expand_dims(mean(shifted, where=mask, axis=axis), axis)
    variance = jnp.expand_dims(mean(jnp.square(shifted - average), where=mask, axis=axis), axis)
    varies = variance > 0
    return jnp.where(mask & varies, shifted - average, 0) / jnp.sqrt(jnp.where(varies, variance, 1))
