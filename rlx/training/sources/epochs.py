"""Passes over a list of problems: each once in an order of its own, then all of them again in another."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray


class Epochs(NamedTuple):
    """How far the passes over a list have come.

    Attributes:
        key: where the orders of all passes come from.
        epoch: passes done.
        place: how many were taken in the pass under way.
    """

    key: PRNGKeyArray
    epoch: Int[Array, ""]
    place: Int[Array, ""]

    def done(self, size: int) -> Float[Array, ""]:
        """Passes over a list of this size, with what is done of the one under way."""
        return self.epoch + self.place / size


def begin(key: PRNGKeyArray) -> Epochs:
    """Before the first pass."""
    return Epochs(key, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))


def take(epochs: Epochs, size: int, count: int) -> tuple[Int[Array, " count"], Epochs]:
    """The next places of a list: none a second time before all have come.

    Args:
        epochs: how far the passes have come.
        size: static; of the list.
        count: static; how many, which may be more than the list has.

    Returns:
        Indices into the list, and how far the passes have come then.
    """
    place = epochs.place + jnp.arange(count)
    # The most passes that so many places lie in, wherever they begin.
    num_orders = (size + count - 2) // size + 1
    order = lambda number: jax.random.permutation(jax.random.fold_in(epochs.key, epochs.epoch + number), size)
    orders = jax.vmap(order)(jnp.arange(num_orders))
    end = epochs.place + count
    return orders[place // size, place % size], Epochs(epochs.key, epochs.epoch + end // size, end % size)
