"""Ways to start the next episode of those environments, among many, whose episode has ended.

Each is a function `renew(reset, done, key, current)` that equals, for one environment,
`reset(key) if done else current`. They differ in what they cost under `vmap`.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Key, PyTree

from rlx.envs.batching import broadcast, whole_batch

Reset = Callable[[Key[Array, ""]], PyTree[Array]]


def select(reset: Reset, done: Bool[Array, ""], key: Key[Array, ""], current: PyTree[Array]) -> PyTree[Array]:
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

    A physics simulator's reset costs about as much as its step, so that `select` nearly doubles the price of
    a step under `vmap`. Here `vmap` over `n` environments becomes a loop that resets `n / chunks` of the
    environments still waiting, until none is: no iteration when no episode ended, one when few did, `chunks`
    when all did. Each environment's result is that of `select`, whatever the others do.

    Further `vmap`s (over seeds) become rows of the same loop, so its condition stays one scalar. The
    environments of one `vmap` are also laid out in as many rows as there are devices (those of the axis `env`
    of the mesh that `jax.set_mesh` has set, if one is): sharded over them, every device finds and resets its
    own, and only the loop's condition is communicated. Reverse-mode differentiation needs `select`.

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
    def renew_batch(size, batched, *arguments):
        mesh = jax.sharding.get_abstract_mesh()
        devices = jax.device_count() if mesh.empty else mesh.shape.get("env", 1)
        rows = math.gcd(size, devices)
        split = jax.tree.map(lambda x: x.reshape(rows, size // rows, *x.shape[1:]), broadcast(size, batched, arguments))
        renewed = jax.tree.map(lambda x: x.reshape(size, *x.shape[2:]), renew_rows(*split))
        return renewed, jax.tree.map(lambda _: True, renewed)

    @whole_batch
    def renew_rows(done, key, current):
        *rows, width = done.shape
        take = max(1, width // chunks)

        def per_row(function):
            return functools.reduce(lambda f, _: jax.vmap(f), rows, function)

        def renew_chunk(carry):
            waiting, current = carry
            index = per_row(lambda row: jnp.nonzero(row, size=take, fill_value=width)[0])(waiting)
            # The fill value lies outside the row: its key is clipped to some key and its result dropped.
            chosen = per_row(lambda row, i: row[jnp.minimum(i, width - 1)])(key, index)
            fresh = _like(current, per_row(jax.vmap(reset))(chosen))
            put = per_row(lambda row, i, value: row.at[i].set(value, mode="drop"))
            current = jax.tree.map(lambda x, value: put(x, index, value), current, fresh)
            return put(waiting, index, jnp.zeros_like(index, bool)), current

        return lax.while_loop(lambda carry: jnp.any(carry[0]), renew_chunk, (done, current))[1]

    return renew(done, key, current)


def _like(current: PyTree[Array], fresh: PyTree[Array]) -> PyTree[Array]:
    return jax.tree.map(lambda x, kept: jnp.asarray(x, kept.dtype), fresh, current)
