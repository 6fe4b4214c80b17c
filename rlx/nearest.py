"""Exact search of the rows of a matrix that are nearest to given points, in bounded memory.

The search stands apart from `rlx.data`, which offers it to users, because regularizers need it as well.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

SPARE = 8
"""Candidates kept beyond k: rounding may reorder that many near ties before they are compared exactly."""
BLOCK = 128
"""Rows of which only the nearest is looked at first."""


@functools.partial(jax.jit, static_argnames=("k", "chunk"))  # An uncompiled call would trace its loop each time.
def nearest_rows(
    query: Float[Array, "*batch feature"], keys: Float[Array, "row feature"], *, k: int, chunk: int | None
) -> tuple[Int[Array, "*batch k"], Float[Array, "*batch k"]]:
    """Indices and distances of the k rows of `keys` nearest to each query, as constants.

    See `rlx.data.nearest_neighbor`.

    Raises:
        ValueError: if `keys` is not a matrix of as many columns as the query's last axis, `k` not in
            [1, rows], or `chunk` below 1.
    """
    if keys.ndim != 2 or query.ndim < 1 or query.shape[-1] != keys.shape[1]:
        raise ValueError(f"keys must be [row, feature] and query [..., feature], got {keys.shape} and {query.shape}")
    rows, features = keys.shape
    if not 1 <= k <= rows:
        raise ValueError(f"k must be between 1 and the number of rows {rows}, got {k}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    size = rows if chunk is None else min(chunk, rows)
    wide = jnp.promote_types(query.dtype, jnp.float32)
    points = lax.stop_gradient(query).reshape(-1, features).astype(wide)
    # A common offset of all points would cost the expanded squares below their digits.
    center = jnp.mean(jnp.where(jnp.isfinite(points), points, 0), 0)

    def search(best: tuple[Array, Array], start: Array) -> tuple[tuple[Array, Array], None]:
        first = jnp.minimum(start, rows - size)
        part = lax.dynamic_slice_in_dim(lax.stop_gradient(keys), first, size).astype(wide)
        seen = first + jnp.arange(size) < start  # The last part reaches back over rows of the one before.
        # ‖q − x‖² less ‖q‖², which is the same for all rows: one matrix product, no [query, row, feature].
        product = jnp.matmul(points - center, (part - center).T, precision=lax.Precision.HIGHEST)
        score = jnp.sum(jnp.square(part - center), -1) - 2 * product
        score = jnp.where(seen | jnp.isnan(score), jnp.inf, score)
        near = smallest(score, min(k + SPARE, size))
        inside = jnp.minimum(near, size - 1)
        distance = jnp.sqrt(jnp.sum(jnp.square(points[:, None] - part[inside]), -1))
        found = jnp.where(seen[inside] | (near >= size), jnp.inf, distance), first + inside
        both = (jnp.concatenate(pair, -1) for pair in zip(best, found, strict=True))
        distance, index = lax.sort(tuple(both), num_keys=2)
        return (distance[:, :k], index[:, :k]), None

    none = jnp.full((len(points), k), jnp.inf, wide), jnp.full((len(points), k), rows)
    if size == rows:
        (distance, index), _ = search(none, jnp.zeros((), none[1].dtype))
    else:
        (distance, index), _ = lax.scan(search, none, jnp.arange(0, rows, size))
    shape = (*query.shape[:-1], k)
    return jnp.minimum(index, rows - 1).reshape(shape), distance.astype(query.dtype).reshape(shape)


def smallest(score: Float[Array, "query row"], count: int) -> Int[Array, "query {count}"]:
    """Where the smallest of each row are, in no matter what order among equals; past the end where too few are finite.

    As many blocks as are asked for, those of the smallest minima, hold them all. Finding minima is a pass over the
    scores; to sort them, or to keep the best of them in a heap, takes several times as long on a CPU.
    """
    queries, rows = score.shape
    if rows <= count * BLOCK:
        return lax.top_k(-score, count)[1]
    blocks = jnp.pad(score, ((0, 0), (0, -rows % BLOCK)), constant_values=jnp.inf).reshape(queries, -1, BLOCK)
    _, block = lax.top_k(-jnp.min(blocks, -1), count)
    within = jnp.take_along_axis(blocks, block[..., None], 1).reshape(queries, -1)
    _, place = lax.top_k(-within, count)
    return jnp.take_along_axis(block, place // BLOCK, 1) * BLOCK + place % BLOCK
