"""Pairs for preference learning, out of several responses to a prompt."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rlx.types import floating


def best_worst_pair(score: Float[Array, "..."], *, axis: int = -1) -> tuple[Int[Array, "..."], Int[Array, "..."]]:
    """Indices of the best and the worst of the responses to each prompt (CREAM).

    chosen = argmax score, rejected = argmin score, of equals the first. Both are the same response where all
    scores are equal: such a prompt has no pair and is to be masked.

    Args:
        score: scores of the responses [*batch, response].
        axis: static; the axis of the responses.

    Returns:
        (chosen_index, rejected_index), integers with the axis removed.

    Raises:
        ValueError: for a non-floating score.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.data import best_worst_pair
        >>> chosen, rejected = best_worst_pair(jnp.array([0.2, 0.9, 0.1]))
        >>> int(chosen), int(rejected)
        (1, 2)

    References:
        Wang et al., 2024, "CREAM: Consistency Regularized Self-Rewarding Language Models", arXiv:2410.12735.
    """
    (score,) = floating(score=score)
    return jnp.argmax(score, axis), jnp.argmin(score, axis)
