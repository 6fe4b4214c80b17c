"""Choosing among candidates by judgements of pairs."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from rlx.types import check_broadcast, check_mask, floating


def knockout(
    preference: Float[Array, "*batch candidate candidate"],
    *,
    where: Bool[Array, "*batch candidate"] | None = None,
) -> Int[Array, "*batch"]:
    """Winner of a knockout among candidates, in which each round halves the field (LLaVA-Critic-R1).

    Neighbors meet, and i beats j > i iff P_ij ≥ P_ji, with P_ij = preference[..., i, j]; of an odd field the last
    goes on without a match. N − 1 matches in ⌈log₂ N⌉ rounds find a candidate that beats every other, where
    there is one. Hearing both orders of a pair takes the judge's bias for a position out; shuffle candidates
    that are in an order.

    Args:
        preference: how much the judge, shown candidate i before j, prefers i, as a probability or score [*batch,
            candidate i, candidate j].
        where: boolean mask, True where a candidate stands [*batch, candidate]; others lose every match.

    Returns:
        Index of the winner [*batch]; 0 where no candidate stands.

    Raises:
        ValueError: if `preference` is not floating or not square in its last two axes, for a non-boolean `where`,
            or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx import rewards
        >>> preference = jnp.array([[0.5, 0.9, 0.2], [0.1, 0.5, 0.6], [0.8, 0.4, 0.5]])
        >>> print(rewards.knockout(preference))
        2

    References:
        Wang et al., 2025, "LLaVA-Critic-R1: Your Critic Model is Secretly a Strong Policy Model",
        arXiv:2509.00676.

    Reconstruction:
        The paper selects among 128 candidates by recursive pairwise judgements of the model itself; its bracket
        and treatment of ties and of odd fields are not given.
    """
    check_mask(where)
    (preference,) = lax.stop_gradient(floating(preference=preference))
    *batch, count, across = preference.shape
    if count != across:
        raise ValueError(f"preference must be square in its last two axes, got shape {preference.shape}")
    check_broadcast(preference=preference[..., 0], where=where)
    stands = jnp.broadcast_to(True if where is None else where, (*batch, count))
    flat = preference.reshape((*batch, count * count))
    field = jnp.broadcast_to(jnp.arange(count), (*batch, count))
    pick = lambda x, index: jnp.take_along_axis(x, index, -1)
    while (size := field.shape[-1]) > 1:
        first, second = field[..., 0 : size - 1 : 2], field[..., 1::2]
        wins = pick(flat, first * count + second) >= pick(flat, second * count + first)
        wins = pick(stands, first) & (wins | ~pick(stands, second))
        advance = wins | ~(pick(stands, first) | pick(stands, second))
        field = jnp.concatenate([jnp.where(advance, first, second), field[..., size - size % 2 :]], -1)
    return jnp.squeeze(field, -1)
