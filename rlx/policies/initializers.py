"""Initializers of network weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray


def orthogonal(scale: float = 1.0):
    """A random orthogonal matrix (Haar distributed) times `scale`; its shorter side is orthonormal.

    Same distribution as `flax.linen.initializers.orthogonal`, by a product of random reflections instead of a QR
    decomposition: two batched QR decompositions that run at once, as a `vmap` over seeds makes them, can wait for
    each other for ever on a CPU (jaxlib 0.10: both hold the threads that their own parts are queued for).

    Args:
        scale: gain.

    Returns:
        `init(key, shape, dtype) -> [rows, columns]`.

    References:
        Stewart (1980). The Efficient Generation of Random Orthogonal Matrices with an Application to Condition
        Estimators. SIAM Journal on Numerical Analysis 17(3).
        Saxe, McClelland, Ganguli (2014). Exact solutions to the nonlinear dynamics of learning in deep linear neural
        networks. arXiv:1312.6120.
    """

    def init(key: PRNGKeyArray, shape: tuple[int, int], dtype: DTypeLike = jnp.float32) -> Float[Array, "rows columns"]:
        rows, columns = shape
        length, count = max(shape), min(shape)
        normal = jax.random.normal(key, (count, length))

        def reflect(step, q):
            i = count - 1 - step
            # The reflection that takes the random direction x (from coordinate i on) to the i-th axis.
            x = jnp.where(jnp.arange(length) >= i, normal[i], 0.0)
            sign = jnp.where(x[i] >= 0, 1.0, -1.0)
            v = x.at[i].add(sign * jnp.linalg.norm(x))
            q = q - jnp.outer(v, (2 / jnp.dot(v, v)) * (v @ q))
            return q.at[:, i].multiply(-sign)

        q = jax.lax.fori_loop(0, count, reflect, jnp.eye(length, count))
        return (scale * (q if rows >= columns else q.T)).astype(dtype)

    return init
