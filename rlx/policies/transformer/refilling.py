"""Sampling that does not wait for the longest sequence: where one ends, the next prompt of a queue takes its place.

All rows advance in step, each by a token: the next of its prompt, or one that is sampled. The slots of the cache are
used again in a circle, so that every row writes to the same slot and the cache need hold no more than one sequence.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from rlx.policies.transformer.generation import Generation, next_token, none_of, uniform_numbers
from rlx.policies.transformer.model import Cache, Config, hidden, init_cache, unembed, unstack


class Rows(NamedTuple):
    """What each row is at.

    sequence: number of the sequence that it writes; the number of all sequences where it has none [row].
    read: tokens of its prompt that it has read [row].
    written: tokens that it has sampled [row].
    logits: of its next token [row, vocab].
    cache: with the tokens of its sequence.
    """

    sequence: Int[Array, "row"]
    read: Int[Array, "row"]
    written: Int[Array, "row"]
    logits: Float[Array, "row vocab"]
    cache: Cache


def generate_refilled(
    key: PRNGKeyArray,
    config: Config,
    params: PyTree,
    prompt: Int[Array, "batch prompt"],
    *,
    rows: int,
    max_new_tokens: int,
    where: Bool[Array, "batch prompt"] | None = None,
    stop_tokens: tuple[int, ...] | Int[Array, "stop"] = (),
    pad_token: int = 0,
    **sampling,
) -> Generation:
    """Continues prompts as `generate` does, so many at a time; whichever sequence ends gives its row to the next.

    The tokens are those of `generate` (as far as rounding of the matrix products allows). Prompts are read token by
    token, and the tokens of all sequences divided by the rows are the steps that it takes, where `generate` takes those
    of the longest. It pays where most sequences are far shorter than the longest, and prompts no longer than they.

    Args:
        key: random key.
        config: the structure; static.
        params: parameters of the model.
        prompt: token indices, shorter prompts padded on the left.
        rows: static; sequences that are continued at a time.
        max_new_tokens: static; the most tokens that a sequence gets.
        where: True at real tokens of the prompt, of which each has one at least; all are real if None.
        stop_tokens: each ends its sequence, as the last token of it.
        pad_token: what follows the end.
        **sampling: those of `sampling_log_prob`: temperature, top_k, top_p and min_p.

    Returns:
        The sampled tokens with their log-probabilities, without gradient.

    Raises:
        ValueError: a count below one, and as `sampling_log_prob` does.
    """
    for name, count in (("rows", rows), ("max_new_tokens", max_new_tokens)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    total, prompt_time = prompt.shape
    rows = min(rows, total)
    stop_tokens = jnp.asarray(stop_tokens, jnp.int32)
    params = unstack(jax.tree.map(lambda leaf: leaf.astype(config.dtype), lax.stop_gradient(params)))
    length = jnp.full(total, prompt_time) if where is None else jnp.sum(where, -1, dtype=jnp.int32)
    capacity = prompt_time + max_new_tokens
    dtype = jnp.promote_types(config.dtype, jnp.float32)
    uniform = uniform_numbers(key, max_new_tokens, total, dtype)

    def unfinished(carry):
        _, at, _, _ = carry
        return ~none_of(at.sequence < total)

    def step(carry):
        count, at, queued, generation = carry
        reading, busy = at.read < length[at.sequence], at.sequence < total
        begin = prompt_time - length[at.sequence]
        drawn, log_prob, behavior_log_prob = next_token(uniform[at.written, at.sequence], at.logits, **sampling)
        token = jnp.where(reading, prompt[at.sequence, begin + at.read], drawn)
        # What is read, or has no sequence, is written to a line that is cut off in the end.
        line = jnp.where(reading, total, at.sequence)
        new = Generation(token, jnp.ones(rows, bool), log_prob, behavior_log_prob)
        generation = jax.tree.map(lambda all, x: all.at[line, at.written].set(x), generation, new)
        cache = at.cache._replace(length=count % capacity)
        x, cache = hidden(config, params, token[:, None], where=busy[:, None], cache=cache)
        logits = unembed(config, params, x[:, 0])

        written = at.written + ~reading
        ended = ~reading & (jnp.any(token[:, None] == stop_tokens, axis=-1) | (written == max_new_tokens)) & busy
        following = jnp.minimum(queued + jnp.cumsum(ended) - 1, total)
        cache = cache._replace(where=cache.where & ~ended[:, None], position=jnp.where(ended, 0, cache.position))
        at = Rows(
            sequence=jnp.where(ended, following, at.sequence),
            read=jnp.where(ended, 0, at.read + reading),
            written=jnp.where(ended, 0, jnp.minimum(written, max_new_tokens - 1)),
            logits=logits,
            cache=cache,
        )
        return count + 1, at, queued + jnp.sum(ended), generation

    none = jnp.zeros(rows, jnp.int32)
    logits = jnp.zeros((rows, config.vocab_size), dtype)
    start = Rows(jnp.arange(rows), none, none, logits, init_cache(config, (rows,), capacity))
    blank = lambda value, dtype: jnp.full((total + 1, max_new_tokens), value, dtype)
    empty = Generation(blank(pad_token, jnp.int32), blank(False, bool), blank(0, dtype), blank(0, dtype))
    zero = jnp.zeros((), jnp.int32)
    _, _, _, generation = lax.while_loop(unfinished, step, (zero, start, zero + rows, empty))
    return jax.tree.map(lambda x: x[:total], generation)
