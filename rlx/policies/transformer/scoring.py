"""Log-probability and entropy of given tokens without the logits of all of them at once.

At a vocabulary of 152 thousand the float32 logits of 64 sequences of 1,024 tokens take 40 gigabytes, and their gradient
as much again. Here logits live for one chunk of times, forward and backward.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PyTree

from rlx.policies.transformer import model
from rlx.policies.transformer.config import Config
from rlx.types import Scalar, check_mask


class TokenStatistics(NamedTuple):
    """What losses need to know of the distribution at each token, in at least float32.

    log_prob: log-probability of the token [*batch, time].
    entropy: entropy of the distribution that it comes from, in nats [*batch, time].
    """

    log_prob: Float[Array, "*batch time"]
    entropy: Float[Array, "*batch time"]


def token_log_prob(
    config: Config,
    params: PyTree,
    tokens: Int[Array, "*batch time"],
    *,
    where: Bool[Array, "*batch time"] | None = None,
    positions: Int[Array, "*batch time"] | None = None,
    start: int = 1,
    temperature: Scalar = 1.0,
    chunk: int = 256,
    remat: bool = False,
) -> TokenStatistics:
    """Log-probability of each token given those before it, and the entropy of what it was drawn from.

    Args:
        config: the structure; static.
        params: parameters.
        tokens: prompts with their continuations.
        where: True at real tokens; all are real if None.
        positions: rotary positions, as in `model.hidden`.
        start: static; the first time that is scored, at least 1: with the prompt's length the results line up with the
            generated tokens, and the prompt costs no logits.
        temperature: the logits are divided by it.
        chunk: static; as in `token_statistics`.
        remat: static; recompute each layer in the backward pass.

    Returns:
        The statistics of `tokens[..., start:]`, 0 where a token or the one before it is padding.

    Raises:
        ValueError: if `start` is not a time after the first, and as `model.hidden` does.
    """
    time = tokens.shape[-1]
    if not 1 <= start < time:
        raise ValueError(f"start must be a time after the first, 1 to {time - 1}, got {start}")
    before = lambda x: None if x is None else x[..., :-1]
    x, _ = model.hidden(config, params, before(tokens), where=before(where), positions=before(positions), remat=remat)
    return token_statistics(
        x[..., start - 1 :, :],
        params["embedding"].T if config.tie_embeddings else params["unembedding"]["kernel"],
        tokens[..., start:],
        where=None if where is None else where[..., start:] & where[..., start - 1 : -1],
        temperature=temperature,
        chunk=chunk,
    )


def token_statistics(
    hidden: Float[Array, "*batch time hidden"],
    unembedding: Float[Array, "hidden vocab"],
    token: Int[Array, "*batch time"],
    *,
    where: Bool[Array, "*batch time"] | None = None,
    temperature: Scalar = 1.0,
    chunk: int = 256,
) -> TokenStatistics:
    """Log-probability of given tokens and entropy under the logits z = hidden · unembedding / temperature.

    log p(token) = z_token − log Σ_v exp z_v and H = −Σ_v p_v log p_v. The backward pass recomputes the logits chunk by
    chunk; with the cotangents a of log p and b of H, ∂/∂z_v = a·(1[v = token] − p_v) − b·p_v·(log p_v + H). Products
    are taken in the dtype of `hidden`; logits, and the sums that make the gradients, are in at least float32.

    Args:
        hidden: representations from which the tokens are predicted; carries the gradient.
        unembedding: output matrix [hidden, vocab]; carries the gradient.
        token: token indices; one outside of the vocabulary gives NaN.
        where: True where a token counts; values and gradients are 0 elsewhere, even over NaN. All count if None.
        temperature: the logits are divided by it; carries the gradient.
        chunk: static; about how many tokens' logits are held at once. Times are split but sequences are not, so that
            they may lie on different devices: it is at least one time of all sequences. Under `vmap` it is each one's.

    Returns:
        Log-probability and entropy [*batch, time].

    Raises:
        ValueError: for a mask that is not boolean, shapes that do not fit, or a chunk below 1.
    """
    check_mask(where)
    if where is not None and where.shape != token.shape:
        raise ValueError(f"where must have the shape {token.shape} of token, got {where.shape}")
    if hidden.shape != (*token.shape, len(unembedding)):
        raise ValueError(
            f"hidden must have the shape {(*token.shape, len(unembedding))} of token {token.shape} and the width of "
            f"unembedding {unembedding.shape}, got {hidden.shape}"
        )
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1 token, got {chunk}")

    if where is not None:
        hidden, token = jnp.where(where[..., None], hidden, 0), jnp.where(where, token, 0)
    temperature = jnp.asarray(temperature, jnp.promote_types(hidden.dtype, jnp.float32))
    statistics = _statistics(_chunk_length(token.shape, chunk), hidden, unembedding, token, temperature)
    return statistics if where is None else TokenStatistics(*(jnp.where(where, x, 0) for x in statistics))


def _chunk_length(shape: tuple[int, ...], chunk: int) -> int:
    """Times per chunk, such that chunks are as even as can be."""
    *batch, time = shape
    num_chunks = math.ceil(time / max(1, chunk // max(1, math.prod(batch))))
    return max(1, math.ceil(time / max(1, num_chunks)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _statistics(length, hidden, unembedding, token, temperature):
    return _forward(length, hidden, unembedding, token, temperature)[0]


def _forward(length, hidden, unembedding, token, temperature):
    def step(_, chunk):
        hidden, token = chunk
        z = _logits(hidden, unembedding) / temperature
        normalizer = jax.nn.logsumexp(z, -1)
        log_p = z - normalizer[..., None]
        log_prob = jnp.take_along_axis(log_p, token[..., None], -1)[..., 0]
        return None, (log_prob, -jnp.sum(jnp.exp(log_p) * log_p, -1), normalizer)

    batch_axes, time = token.ndim - 1, token.shape[-1]
    _, outputs = lax.scan(step, None, _split((hidden, token), batch_axes, length))
    log_prob, entropy, normalizer = _join(outputs, batch_axes, time)
    return TokenStatistics(log_prob, entropy), (hidden, unembedding, token, temperature, normalizer, entropy)


def _backward(length, residuals, cotangents):
    hidden, unembedding, token, temperature, normalizer, entropy = residuals
    batch_axes, time = token.ndim - 1, token.shape[-1]
    vocabulary = jnp.arange(unembedding.shape[-1])

    def step(gradients, chunk):
        hidden, token, normalizer, entropy, of_log_prob, of_entropy = (
            x if x.ndim > batch_axes + 1 else x[..., None] for x in chunk
        )
        z = _logits(hidden, unembedding) / temperature
        log_p = z - normalizer
        gradient = of_log_prob * (vocabulary == token) - jnp.exp(log_p) * (of_log_prob + of_entropy * (log_p + entropy))
        of_logits = (gradient / temperature).astype(hidden.dtype)

        of_unembedding, of_temperature = gradients
        tokens = tuple(range(token.ndim - 1))
        of_unembedding += jnp.tensordot(
            hidden, of_logits, (tokens, tokens), preferred_element_type=of_unembedding.dtype
        )
        of_temperature -= jnp.sum(gradient * z) / temperature
        of_hidden = jnp.einsum("...v,dv->...d", of_logits, unembedding.astype(hidden.dtype))
        return (of_unembedding, of_temperature), of_hidden

    chunks = _split((hidden, token, normalizer, entropy, *cotangents), batch_axes, length)
    zeros = (jnp.zeros(unembedding.shape, entropy.dtype), jnp.zeros((), entropy.dtype))
    (of_unembedding, of_temperature), of_hidden = lax.scan(step, zeros, chunks)
    (of_hidden,) = _join((of_hidden,), batch_axes, time)
    return of_hidden, of_unembedding.astype(unembedding.dtype), None, of_temperature


_statistics.defvjp(_forward, _backward)


def _logits(hidden, unembedding):
    wide = jnp.promote_types(hidden.dtype, jnp.float32)
    return jnp.einsum("...d,dv->...v", hidden, unembedding.astype(hidden.dtype), preferred_element_type=wide)


def _split(arrays, batch_axes, length):
    """[*batch, time, …] → [chunk, *batch, length, …], filled up with zeros."""

    def split(x):
        num_chunks = -(-x.shape[batch_axes] // length)
        missing = num_chunks * length - x.shape[batch_axes]
        x = jnp.pad(x, [(0, missing if axis == batch_axes else 0) for axis in range(x.ndim)])
        x = x.reshape(*x.shape[:batch_axes], num_chunks, length, *x.shape[batch_axes + 1 :])
        return jnp.moveaxis(x, batch_axes, 0)

    return jax.tree.map(split, arrays)


def _join(arrays, batch_axes, time):
    """[chunk, *batch, length, …] → [*batch, time, …]."""

    def join(x):
        x = jnp.moveaxis(x, 0, batch_axes)
        x = x.reshape(*x.shape[:batch_axes], -1, *x.shape[batch_axes + 2 :])
        return lax.slice_in_dim(x, 0, time, axis=batch_axes)

    return jax.tree.map(join, arrays)
