"""Several sequences in one row: where each of their tokens goes, and what is said of it there."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Shaped

from rlx.algorithms.responses import Responses


class Places(NamedTuple):
    """Where tokens of prompts and responses lie in rows as long as the longest that there is room for.

    Attributes:
        number: of the sequence `[prompt, group]`.
        row: of the sequence `[prompt, group]`.
        slot: of the token in its row; beyond the row where there is no token `[prompt, group, time]`.
        position: of the token in its sequence `[prompt, group, time]`.
        fit: whether all sequences have found room.
    """

    number: Int[Array, "prompt group"]
    row: Int[Array, "prompt group"]
    slot: Int[Array, "prompt group time"]
    position: Int[Array, "prompt group time"]
    fit: Bool[Array, ""]


def places(batch: Responses, rows: int) -> Places:
    """Places for prompts and responses, the longest first, each in the row with most room.

    Args:
        batch: whose real tokens are packed.
        rows: static; how many there are, each as long as a prompt and a response can be.
    """
    where = jnp.concatenate([batch.prompt_where, batch.present], axis=-1)
    shape, capacity = where.shape[:2], where.shape[-1]
    length = jnp.sum(where, axis=-1, dtype=jnp.int32).reshape(-1)

    def place(filled: Int[Array, " row"], length: Int[Array, ""]):
        row = jnp.argmin(filled)
        return filled.at[row].add(length), (row, filled[row])

    order = jnp.argsort(-length)
    filled, found = jax.lax.scan(place, jnp.zeros(rows, jnp.int32), length[order])
    row, begin = (jnp.zeros_like(length).at[order].set(x).reshape(shape) for x in found)
    position = jnp.cumsum(where, axis=-1, dtype=jnp.int32) - 1
    return Places(
        number=jnp.arange(len(length)).reshape(shape),
        row=row,
        slot=jnp.where(where, begin[..., None] + position, capacity),
        position=position,
        fit=jnp.all(filled <= capacity),
    )


def put(
    places: Places, x: Shaped[Array, "prompt group time"], *, rows: int, blank: float | int = 0
) -> Shaped[Array, "row slot"]:
    """What is said of tokens, where they lie in the rows; `blank` where none does."""
    empty = jnp.full((rows, places.slot.shape[-1]), blank, x.dtype)
    return empty.at[places.row[..., None], places.slot].set(x, mode="drop")


def take(places: Places, x: Shaped[Array, "row slot"], *, shift: int = 0) -> Shaped[Array, "prompt group time"]:
    """What is said of the slots of tokens, or of those so many further on; of no meaning where there is no token."""
    return x[places.row[..., None], jnp.clip(places.slot + shift, 0, x.shape[-1] - 1)]
