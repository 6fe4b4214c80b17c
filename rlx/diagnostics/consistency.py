"""Whether two judges put the same responses in the same order."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rlx.types import check_choice, elements

KINDS = ("kendall", "spearman", "top_order")


def rank_consistency(
    score: Float[Array, "..."], other_score: Float[Array, "..."], *, kind: str = "kendall", axis: int = -1
) -> Float[Array, "..."]:
    """Agreement of two orders of the same responses, such as those of a model and its predecessor (CREAM).

    C = (τ + 1)/2, with τ over N responses the share of pairs in the same order minus that in opposite order
    ("kendall"), or 1 − 6·Σ d²/(N(N² − 1)) with d the differences of ranks ("spearman"); or C is 1 where best
    and worst response agree and otherwise 0 ("top_order"). Of equal scores the first has the lower rank.
    As label of `dpo` it is consistency-regularized self-rewarding; its mean over the dataset is common.

    Args:
        score: scores of the responses to a prompt [*batch, response]; a constant.
        other_score: scores of the same responses by the other judge; a constant.
        kind: static; "kendall", "spearman" or "top_order".
        axis: static; the axis of the responses, at least two of them.

    Returns:
        Consistency C in [0, 1], with the axis removed, without gradient.

    Raises:
        ValueError: for an unknown `kind`, a single response, a non-floating array, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import rank_consistency
        >>> score, other_score = jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 3.0, 2.0])
        >>> [round(float(rank_consistency(score, other_score, kind=kind)), 3) for kind in ("kendall", "spearman")]
        [0.667, 0.75]

    References:
        Wang et al., 2024, "CREAM: Consistency Regularized Self-Rewarding Language Models", arXiv:2410.12735.
    """
    check_choice("kind", kind, KINDS)
    scores = elements(score=score, other_score=other_score)
    scores = [jnp.moveaxis(x, axis, -1) for x in jnp.broadcast_arrays(*scores)]
    size, dtype = scores[0].shape[-1], scores[0].dtype
    if size < 2:
        raise ValueError(f"score must have at least 2 responses along axis {axis}, got shape {jnp.shape(score)}")
    if kind == "top_order":
        best, worst = (jnp.equal(*(find(x, -1) for x in scores)) for find in (jnp.argmax, jnp.argmin))
        return jnp.logical_and(best, worst).astype(dtype)
    if kind == "kendall":
        first, second = np.triu_indices(size, 1)
        ascends, other_ascends = (x[..., first] <= x[..., second] for x in scores)
        return jnp.mean(ascends == other_ascends, -1).astype(dtype)
    square = jnp.sum(jnp.square(_ranks(scores[0]) - _ranks(scores[1])), -1)
    return (1 - 3 * square / (size * (size**2 - 1))).astype(dtype)


def _ranks(score: Array) -> Array:
    """Ranks from 0 along the last axis, of equal scores the first below; by counting, as there are few."""
    mine, others = score[..., :, None], score[..., None, :]
    earlier = np.tri(score.shape[-1], k=-1, dtype=bool)
    return jnp.sum((others < mine) | ((others == mine) & earlier), -1)
