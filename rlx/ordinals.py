"""Floating-point numbers as integers of the same order, so that a threshold can be bisected exactly.

A bisection over ordinals reads the data once per bit of its dtype, and stores nothing: on large arrays that is many
times cheaper than a sort.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int


def ordinal(x: Float[Array, "..."]) -> Int[Array, "..."]:
    """Integers in the order of the numbers, neighbors one apart; −0 and 0 are neighbors."""
    return _flip(lax.bitcast_convert_type(x, jnp.dtype(f"int{jnp.finfo(x.dtype).bits}")))


def from_ordinal(rank: Int[Array, "..."], dtype: jnp.dtype) -> Float[Array, "..."]:
    """The number of an ordinal."""
    return lax.bitcast_convert_type(_flip(rank), dtype)


def first_true(
    holds: Callable[[Array], Bool[Array, "..."]], low: Int[Array, "..."], high: Int[Array, "..."], *, steps: int
) -> Int[Array, "..."]:
    """The least integer in [low, high] for which a monotone condition holds; high where it holds for none below.

    Args:
        holds: from integers to booleans, False up to some integer and True from there on.
        low: where to begin.
        high: where to end.
        steps: halvings, enough if 2**steps > high − low.
    """

    def halve(_: Array, interval: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = interval
        middle = (low & high) + ((low ^ high) >> 1)  # the mean, without overflow
        found = holds(middle)
        return jnp.where(found | (low >= high), low, middle + 1), jnp.where(found, middle, high)

    return lax.fori_loop(0, steps, halve, (low, high))[1]


def _flip(bits: Array) -> Array:
    """Reverses the order of the negative numbers, whose bits are a sign and a magnitude; its own inverse."""
    info = jnp.iinfo(bits.dtype)
    return bits ^ ((bits >> (info.bits - 1)) & info.max)
