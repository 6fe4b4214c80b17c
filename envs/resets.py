"""Ways to start the next episode of those environments, among many, whose episode has ended.

Each is a function `renew(reset, done, key, current)` that equals, for one environment,
`reset(key) if done else current`. They differ in what they cost under `vmap`.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Key, PyTree

Reset = Callable[[Key[Array, ""]], PyTree[Array]]


def select(
    reset: Reset, done: Bool[Array, ""], key: Key[Array, ""], current: PyTree[Array]
) -> PyTree[Array]:
    """Resets always and keeps the result where `done`: right where a reset costs next to nothing.

    Args:
        reset: `key -> pytree` with the structure, shapes and dtypes of `current`.
        done: Whether the episode has ended.
        key: Where the fresh initial state comes from.
        current: The state to keep where the episode goes on.

    Returns:
        `reset(key)` where `done`, else `current`.
    """
    return jax.tree.map(lambda fresh, kept: jnp.where(done, fresh, kept), _like(current, reset(key)), current)


def in_chunks(
    reset: Reset, done: Bool[Array, ""], key: Key[Array, ""], current: PyTree[Array], *, chunks: int = 16
) -> PyTree[Array]:
    """Resets only the environments that need it, a fixed-size chunk of them at a time.

    A physics simulator's reset costs about as much as its step, so that `select` nearly doubles the price of a step
    under `vmap`. Here `vmap` over `n` environments becomes a loop that resets `n / chunks` of the environments still
    waiting, until none is: no iteration when no episode ended, one when few did, `chunks` when all did. Each
    environment's result is that of `select`, whatever the others do.

    Further `vmap`s (over seeds) become rows of the same loop, so its condition stays one scalar. Environments are
    also laid out in as many rows as there are devices: with the environments sharded over them, every device finds
    and resets its own, and only the loop's condition is communicated. Reverse-mode differentiation needs `select`.

    Args:
        reset: `key -> pytree` with the structure, shapes and dtypes of `current`.
        done: Whether the episode has ended.
        key: Where the fresh initial state comes from.
        current: The state to keep where the episode goes on.
        chunks: Into how many chunks a full reset of all environments is cut.

    Returns:
        `reset(key)` where `done`, else `current`.
    """

    @custom_vmap
    def renew(done, key, current):
        return lax.cond(done, lambda: _like(current, reset(key)), lambda: current)

    @renew.def_vmap
    def renew_many(size, batched, *arguments):
        rows = math.gcd(size, jax.device_count())
        grid = jax.tree.map(lambda x: x.reshape(rows, size // rows, *x.shape[1:]), broadcast(size, batched, arguments))
        renewed = jax.tree.map(lambda x: x.reshape(size, *x.shape[2:]), renew_rows(*grid))
        return renewed, jax.tree.map(lambda _: True, renewed)

    @custom_vmap
    def renew_rows(done, key, current):
        width = done.shape[1]
        take = max(1, width // chunks)

        def renew_chunk(carry):
            waiting, current = carry
            index = jax.vmap(lambda row: jnp.nonzero(row, size=take, fill_value=width)[0])(waiting)
            # The fill value lies outside the row: its key is clipped to some key and its result dropped.
            chosen = jax.vmap(lambda row, i: row[jnp.minimum(i, width - 1)])(key, index)
            fresh = _like(current, jax.vmap(jax.vmap(reset))(chosen))
            current = jax.tree.map(lambda x, value: _scatter(x, index, value), current, fresh)
            return _scatter(waiting, index, jnp.zeros_like(index, bool)), current

        return lax.while_loop(lambda carry: jnp.any(carry[0]), renew_chunk, (done, current))[1]

    @renew_rows.def_vmap
    def renew_more_rows(size, batched, *arguments):
        rows = arguments[0].shape[-2]
        merged = jax.tree.map(lambda x: x.reshape(size * rows, *x.shape[2:]), broadcast(size, batched, arguments))
        renewed = jax.tree.map(lambda x: x.reshape(size, rows, *x.shape[1:]), renew_rows(*merged))
        return renewed, jax.tree.map(lambda _: True, renewed)

    return renew(done, key, current)


@functools.partial(jax.vmap, in_axes=(0, 0, 0))
def _scatter(row: Array, index: Array, value: Array) -> Array:
    return row.at[index].set(value, mode="drop")


def _like(current: PyTree[Array], fresh: PyTree[Array]) -> PyTree[Array]:
    return jax.tree.map(lambda x, kept: jnp.asarray(x, kept.dtype), fresh, current)


def broadcast(size: int, batched: Any, tree: PyTree[Array]) -> PyTree[Array]:
    """Gives every leaf the leading axis `size` that only the `batched` ones have."""
    return jax.tree.map(lambda x, has: x if has else jnp.broadcast_to(x, (size, *x.shape)), tree, tuple(batched))
