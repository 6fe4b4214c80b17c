"""Masks of the part of a sequence that comes after a point; without gradient."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from rlx.types import check_broadcast, check_mask


def suffix_mask(where: Bool[Array, "..."], pivot: Int[Array, "..."] | int, *, axis: int = -1) -> Bool[Array, "..."]:
    """Mask without the first turns of each sequence, for credit to what follows a pivotal turn (R³L).

    mask_t = m_t and turn_t > pivot, with m the given mask and turn_t = 1, 2, … numbering its runs of True
    along the sequence: turns are counted, not tokens.

    Args:
        where: boolean mask m of the trained tokens, a run of True for each turn [*batch, token].
        pivot: number of turns to leave out, [*batch] or one for all; at 0 or less none.
        axis: static; the token axis.

    Returns:
        Boolean mask of the same shape.

    Raises:
        ValueError: for a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx import weighting
        >>> where = jnp.array([True, True, False, True, False, True])
        >>> print(weighting.suffix_mask(where, 1))
        [False False False  True False  True]

    References:
        Shi et al., 2026, "R³L: Reflect-then-Retry Reinforcement Learning with Language-Guided Exploration,
        Pivotal Credit, and Positive Amplification", arXiv:2601.03715.
    """
    check_mask(where)
    pivot = jnp.asarray(pivot)
    pivot = jnp.expand_dims(pivot, axis) if pivot.ndim else pivot
    check_broadcast(where=where, pivot=pivot)
    starts = jnp.diff(where.astype(jnp.int8), axis=axis, prepend=jnp.int8(0)) > 0
    turn = jnp.cumsum(starts, axis, dtype=jnp.int32)
    return where & (turn > pivot)
