"""Sampling of token sequences inside `jit`: prompts are read into a cache once, then it is one token per step.

Sequences lie in one batch and advance in step, so that each writes to the same slot of the cache: prompts of different
lengths are padded on the left. A sequence's tokens depend on its own prompt, the key and its index in the batch, but
not on the other sequences, their number or the padding (as far as rounding of the matrix products allows).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from rlx.policies.transformer.model import Cache, Config, hidden, init_cache, unembed, unstack
from rlx.types import Scalar, elements, like
from rlx.weighting.nucleus import nucleus_threshold


class GenerationState(NamedTuple):
    """Where sequences stand: what they were made of so far, and what may come next.

    cache: keys and values of the tokens so far.
    logits: of each sequence's next token, in at least float32 [batch, vocab].
    """

    cache: Cache
    logits: Float[Array, "batch vocab"]


class Generation(NamedTuple):
    """Sampled tokens.

    tokens: the tokens, and the padding token after the end of a sequence [batch, time].
    where: True up to and including the stop token [batch, time].
    log_prob: of each token under the policy itself, at temperature 1 and unfiltered [batch, time].
    behavior_log_prob: of each token under the distribution that it was drawn from [batch, time].
    """

    tokens: Int[Array, "batch time"]
    where: Bool[Array, "batch time"]
    log_prob: Float[Array, "batch time"]
    behavior_log_prob: Float[Array, "batch time"]


def generate(
    key: PRNGKeyArray,
    config: Config,
    params: PyTree,
    prompt: Int[Array, "batch prompt"],
    *,
    where: Bool[Array, "batch prompt"] | None = None,
    max_new_tokens: int,
    **options,
) -> Generation:
    """Continues prompts: `prefill`, then `decode`.

    Args:
        key: random key.
        config: the structure; static.
        params: parameters of the model.
        prompt: token indices, shorter prompts padded on the left.
        where: True at real tokens of the prompt; all are real if None.
        max_new_tokens: static; the most tokens that a sequence gets.
        **options: those of `decode`: temperature, top_k, top_p, min_p, stop_tokens, pad_token.

    Returns:
        The sampled tokens with their log-probabilities.

    Raises:
        ValueError: as `prefill` and `decode` do.
    """
    state = prefill(config, params, prompt, where=where, capacity=prompt.shape[-1] + max_new_tokens)
    return decode(key, config, params, state, max_new_tokens=max_new_tokens, **options)[0]


def prefill(
    config: Config,
    params: PyTree,
    tokens: Int[Array, "batch time"],
    *,
    where: Bool[Array, "batch time"] | None = None,
    capacity: int | None = None,
    state: GenerationState | None = None,
) -> GenerationState:
    """Reads given tokens: a prompt, or what an environment says between two turns of a policy.

    Padding may lie on either side; it takes up slots of the cache, but neither positions nor attention.

    Args:
        config: the structure; static.
        params: parameters of the model.
        tokens: token indices.
        where: True at real tokens; all are real if None. A sequence without one stays as it is.
        capacity: static; slots of a new cache, for these tokens and all that will follow them.
        state: the state to continue instead, which then must have the capacity for these tokens.

    Returns:
        The state after the tokens; its logits are NaN if the cache was too small.

    Raises:
        ValueError: unless one of capacity and state is given, and as `hidden` does.
    """
    if (capacity is None) == (state is None):
        raise ValueError(f"give either capacity or state, got capacity={capacity} and state={type(state).__name__}")
    where = jnp.ones(tokens.shape, bool) if where is None else where
    cache = init_cache(config, tokens.shape[:-1], capacity) if state is None else state.cache
    x, cache = hidden(config, params, tokens, where=where, cache=cache)
    last = jnp.max(jnp.where(where, jnp.arange(tokens.shape[-1]), 0), -1)
    logits = unembed(config, params, jnp.take_along_axis(x, last[:, None, None], axis=1)[:, 0])
    if state is not None:
        logits = jnp.where(jnp.any(where, -1, keepdims=True), logits, state.logits)
    return GenerationState(cache, logits)


def repeat(state: GenerationState, times: int) -> GenerationState:
    """Every sequence `times` times in succession, so that a group of samples reads its prompt only once.

    Args:
        state: of the prompts [batch].
        times: static; samples of each prompt.

    Returns:
        The state of [batch · times] sequences, those of one prompt next to each other.
    """
    return jax.tree.map(lambda leaf: jnp.repeat(leaf, times, axis=0) if leaf.ndim else leaf, state)


def decode(
    key: PRNGKeyArray,
    config: Config,
    params: PyTree,
    state: GenerationState,
    *,
    max_new_tokens: int,
    where: Bool[Array, "batch"] | None = None,
    temperature: Scalar = 1.0,
    top_k: int | None = None,
    top_p: Scalar | None = None,
    min_p: Scalar | None = None,
    stop_tokens: tuple[int, ...] | Int[Array, "stop"] = (),
    pad_token: int = 0,
) -> tuple[Generation, GenerationState]:
    """Samples token after token, until every sequence has its stop token or there is no more room for any.

    What has been sampled, stop tokens included, is in the cache afterwards: `prefill` can append to it, and `decode`
    go on. Under `vmap` (over keys, parameters, hyperparameters) the steps are those of the longest sequence of all, and
    what comes after a sequence's end changes nothing.

    Args:
        key: random key.
        config: the structure; static.
        params: parameters of the model.
        state: where to continue, as `prefill` returns it.
        max_new_tokens: static; the most tokens that a sequence gets. Sequences end earlier when the cache is full.
        where: sequences that are to be continued; all if None. Others get no token.
        temperature: see `sampling_log_prob`; as are top_k, top_p and min_p.
        top_k: static.
        top_p: probability of the nucleus.
        min_p: lowest probability relative to the highest.
        stop_tokens: each ends its sequence, as the last token of it.
        pad_token: what follows the end.

    Returns:
        The sampled tokens with their log-probabilities, and the state after them, all without gradient.

    Raises:
        ValueError: if max_new_tokens is not positive or exceeds the capacity of the cache, and as `sampling_log_prob`
            does.
    """
    capacity = state.cache.where.shape[-1]
    if not 1 <= max_new_tokens <= capacity:
        raise ValueError(f"max_new_tokens must be between 1 and the cache's capacity {capacity}, got {max_new_tokens}")
    batch = state.logits.shape[0]
    stop_tokens = jnp.asarray(stop_tokens, jnp.int32)
    running = jnp.ones(batch, bool) if where is None else where
    params, state = lax.stop_gradient((params, state))
    params = unstack(jax.tree.map(lambda leaf: leaf.astype(config.dtype), params))
    uniform = uniform_numbers(key, max_new_tokens, batch, state.logits.dtype)

    def unfinished(carry):
        step, state, running, _ = carry
        return (step < max_new_tokens) & (state.cache.length < capacity) & ~none_of(running)

    def sample(carry):
        step, state, running, generation = carry
        token, log_prob, behavior_log_prob = next_token(
            uniform[step], state.logits, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p
        )
        new = Generation(
            tokens=jnp.where(running, token, pad_token),
            where=running,
            log_prob=jnp.where(running, log_prob, 0),
            behavior_log_prob=jnp.where(running, behavior_log_prob, 0),
        )
        generation = jax.tree.map(lambda rows, row: rows.at[step].set(row), generation, new)
        x, cache = hidden(config, params, token[:, None], where=running[:, None], cache=state.cache)
        logits = jnp.where(running[:, None], unembed(config, params, x[:, 0]), state.logits)
        running &= ~jnp.any(token[:, None] == stop_tokens, axis=-1)
        return step + 1, GenerationState(cache, logits), running, generation

    rows = lambda value, dtype: jnp.full((max_new_tokens, batch), value, dtype)
    logit_dtype = state.logits.dtype
    empty = Generation(rows(pad_token, jnp.int32), rows(False, bool), rows(0, logit_dtype), rows(0, logit_dtype))
    _, state, _, generation = lax.while_loop(unfinished, sample, (jnp.zeros((), jnp.int32), state, running, empty))
    return jax.tree.map(jnp.transpose, generation), state


def sampling_log_prob(
    logits: Float[Array, "*batch vocab"],
    *,
    temperature: Scalar = 1.0,
    top_k: int | None = None,
    top_p: Scalar | None = None,
    min_p: Scalar | None = None,
) -> Float[Array, "*batch vocab"]:
    """Log-probabilities of the distribution that tokens are drawn from.

    log softmax of logits / temperature, restricted in this order to the top_k highest, to the nucleus of probability
    top_p of what is left, and to what has at least min_p times the highest probability. Tokens of equal probability
    are kept or removed together.

    Args:
        logits: of the policy.
        temperature: at least 0; at 0 all probability lies on the (first) highest logit.
        top_k: static; None keeps all.
        top_p: in (0, 1]; the most probable token is always kept. None leaves the filter out of the program.
        min_p: in [0, 1]. None leaves the filter out of the program.

    Returns:
        Normalized log-probabilities, −inf where a token is removed.

    Raises:
        ValueError: for a number outside of its range (traced ones are not checked), or logits that are not floating.

    References:
        Fan, Lewis, Dauphin, 2018, "Hierarchical Neural Story Generation", arXiv:1805.04833 (top_k).
        Holtzman et al., 2019, "The Curious Case of Neural Text Degeneration", arXiv:1904.09751 (top_p).
        Nguyen et al., 2024, "Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM Outputs",
        arXiv:2407.01082 (min_p).
    """
    (logits,) = elements(logits=logits)
    _check_range(temperature, top_k, top_p, min_p)
    vocab_size = logits.shape[-1]
    (temperature,) = like(logits, temperature)
    # The first of the highest: argmax of the logits themselves takes a CPU ten times as long as their maximum.
    best = jnp.argmax(logits == jnp.max(logits, -1, keepdims=True), -1, keepdims=True)
    greedy = jnp.where(jnp.arange(vocab_size) == best, 0.0, -jnp.inf)
    scaled = jnp.where(temperature > 0, logits / jnp.where(temperature > 0, temperature, 1), greedy)
    keep = lambda scaled, where: jnp.where(where, scaled, -jnp.inf)
    if top_k is not None and top_k < vocab_size:
        scaled = keep(scaled, scaled >= lax.top_k(scaled, top_k)[0][..., -1:])
    if top_p is not None:
        (top_p,) = like(scaled, top_p)
        # At top_p = 1 the probabilities might reach 1 by rounding before all tokens are in.
        scaled = keep(scaled, (scaled >= nucleus_threshold(scaled, top_p=top_p)[..., None]) | (top_p >= 1))
    if min_p is not None:
        (min_p,) = like(scaled, min_p)
        scaled = keep(scaled, scaled >= jnp.max(scaled, -1, keepdims=True) + jnp.log(min_p))
    return jax.nn.log_softmax(scaled)


def next_token(
    uniform: Float[Array, "batch"], logits: Float[Array, "batch vocab"], **sampling
) -> tuple[Int[Array, "batch"], Float[Array, "batch"], Float[Array, "batch"]]:
    """A token of each sequence, its log-probability under the policy, and under the distribution that it is drawn from.

    Args:
        uniform: numbers in [0, 1), by which tokens are drawn.
        logits: of the policy.
        **sampling: those of `sampling_log_prob`.
    """
    log_probs = sampling_log_prob(logits, **sampling)
    token = _draw(uniform, log_probs)
    take = lambda logits: jnp.take_along_axis(logits, token[:, None], axis=-1)[:, 0]
    return token, take(logits) - jax.nn.logsumexp(logits, -1), take(log_probs)


def uniform_numbers(key, num_steps, batch, dtype):
    """Numbers [num_steps, batch] in [0, 1), each of its step and index alone, however many there are of both."""
    one = lambda step, row: jax.random.uniform(jax.random.fold_in(jax.random.fold_in(key, row), step), dtype=dtype)
    return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(jnp.arange(num_steps), jnp.arange(batch))


def _draw(uniform: Float[Array, "*batch"], log_probs: Float[Array, "*batch vocab"]) -> Int[Array, "*batch"]:
    """The first token at which the cumulative probability exceeds a uniform number.

    It takes one random number per sequence, where a Gumbel number per token would cost more than all else of sampling;
    and two short cumulative sums, over blocks of tokens and then inside of one, for which the whole vocabulary is but
    added up.
    """
    vocab_size = log_probs.shape[-1]
    width = math.isqrt(vocab_size - 1) + 1
    missing = -vocab_size % width
    probability = jnp.pad(jnp.exp(log_probs), [(0, 0)] * (log_probs.ndim - 1) + [(0, missing)])
    blocks = probability.reshape(*probability.shape[:-1], -1, width)
    block, uniform = _invert(uniform, jnp.sum(blocks, -1))
    column, _ = _invert(uniform, jnp.take_along_axis(blocks, block[..., None, None], axis=-2)[..., 0, :])
    return (block * width + column).astype(jnp.int32)


def _invert(uniform: Float[Array, "*batch"], weight: Float[Array, "*batch n"]):
    """The first index at which the cumulative weight exceeds that share of all, and how far into its weight that is."""
    # By rounding, the sum may differ between an index and one of no weight after it, which must not be drawn for that.
    cumulative = jnp.where(weight > 0, jnp.cumsum(weight, -1), 0)
    # Numbers up to the largest below 1 times the maximum stay below the maximum, so that there is a first.
    target = uniform * jnp.max(cumulative, -1)
    index = jnp.argmax(cumulative > target[..., None], -1)
    own, until = (jnp.take_along_axis(x, index[..., None], axis=-1)[..., 0] for x in (weight, cumulative))
    return index, jnp.clip(1 - (until - target) / own, 0, 1 - jnp.finfo(weight.dtype).epsneg)


@custom_vmap
def none_of(running: Bool[Array, "batch"]) -> Bool[Array, ""]:
    """Whether no sequence is running.

    One answer for all instances under `vmap`: with one answer each, `while_loop` would select between old and new state
    at every step, that is copy the cache, and write to it at positions that differ.
    """
    return ~jnp.any(running)


@none_of.def_vmap
def _none_of_all(axis_size, in_batched, running):
    del axis_size, in_batched
    return none_of(running.reshape(-1)), False


def _check_range(temperature, top_k, top_p, min_p):
    ranges = {
        "temperature": (temperature, lambda x: x >= 0, "at least 0"),
        "top_k": (top_k, lambda x: x >= 1, "at least 1, or None"),
        "top_p": (top_p, lambda x: 0 < x <= 1, "in (0, 1], or None"),
        "min_p": (min_p, lambda x: 0 <= x <= 1, "in [0, 1], or None"),
    }
    for name, (value, fits, wanted) in ranges.items():
        if isinstance(value, (int, float)) and not fits(value):
            raise ValueError(f"{name} must be {wanted}, got {value}")
