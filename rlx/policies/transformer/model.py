"""A decoder-only Transformer of the Llama/Qwen family as pure functions of a nested dict of parameters."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from rlx.policies.transformer.config import Config
from rlx.types import check_mask

UNROLLED = 4
"""Up to so many layers are written out one by one, which takes longer to compile but need not stack what the backward
pass reads: a quarter of the time of a gradient of two layers on a CPU. More layers are one loop."""


QUERIES = 256
"""Up to so many queries attend at once. Of more, one block of them after the other does, forward and backward: the
scores of all would take memory by the square of the length."""


class Cache(NamedTuple):
    """Keys and values of the tokens so far, in slots that all sequences fill in step.

    Layers have arrays of their own: in one array for all, every step would copy each layer's part out of it.

    key: of each layer, [*batch, head, head_dim, slot], in the order in which a query is multiplied by it.
    value: of each layer, [*batch, head, slot, head_dim].
    where: slots that hold a real token [*batch, slot].
    length: number of slots filled, padding included; one for all sequences, which left padding makes possible.
    position: position of each sequence's next token [*batch].
    """

    key: tuple[Float[Array, "*batch head head_dim slot"], ...]
    value: tuple[Float[Array, "*batch head slot head_dim"], ...]
    where: Bool[Array, "*batch slot"]
    length: Int[Array, ""]
    position: Int[Array, "*batch"]


def init(key: PRNGKeyArray, config: Config) -> PyTree:
    """Random parameters in `config.dtype`; those of the layers are stacked on a leading axis [layer].

    Kernels are normal with variance 1 / inputs; those that write to the residual stream are divided by √(2L), so that
    its variance does not grow with depth. Embeddings have the standard deviation 0.02, norms start at 1, biases at 0.

    Args:
        key: random key.
        config: the structure.

    Returns:
        {"embedding": [V, D], "layers": {"attention_norm": [L, D], "query": {"kernel": [L, D, H·head_dim], "bias"},
        "key", "value", "output": {"kernel": [L, H·head_dim, D], "bias"}, "query_norm": [L, head_dim], "key_norm",
        "mlp_norm": [L, D], "gate": {"kernel": [L, D, F], "bias"}, "up", "down": {"kernel": [L, F, D], "bias"}},
        "final_norm": [D], "unembedding": {"kernel": [D, V]}}, where biases, query_norm, key_norm and unembedding are
        there if the configuration has them.
    """
    dtype, num_layers, width = jnp.dtype(config.dtype), config.num_layers, config.hidden_size
    heads, key_value_heads = (n * config.head_dim for n in (config.num_heads, config.num_key_value_heads))
    keys = iter(jax.random.split(key, 9))
    normal = lambda shape, scale: (scale * jax.random.normal(next(keys), shape)).astype(dtype)
    ones = lambda *shape: jnp.ones(shape, dtype)

    def dense(inputs: int, outputs: int, *, bias: bool, gain: float = 1.0) -> dict[str, Array]:
        kernel = normal((num_layers, inputs, outputs), gain / math.sqrt(inputs))
        return {"kernel": kernel} | ({"bias": jnp.zeros((num_layers, outputs), dtype)} if bias else {})

    to_residual = 1 / math.sqrt(2 * num_layers)
    layers = {
        "attention_norm": ones(num_layers, width),
        "query": dense(width, heads, bias=config.attention_bias),
        "key": dense(width, key_value_heads, bias=config.attention_bias),
        "value": dense(width, key_value_heads, bias=config.attention_bias),
        "output": dense(heads, width, bias=config.attention_output_bias, gain=to_residual),
        "mlp_norm": ones(num_layers, width),
        "gate": dense(width, config.intermediate_size, bias=config.mlp_bias),
        "up": dense(width, config.intermediate_size, bias=config.mlp_bias),
        "down": dense(config.intermediate_size, width, bias=config.mlp_bias, gain=to_residual),
    }
    if config.qk_norm:
        layers |= {name: ones(num_layers, config.head_dim) for name in ("query_norm", "key_norm")}
    params = {
        "embedding": normal((config.vocab_size, width), 0.02),
        "layers": layers,
        "final_norm": ones(width),
    }
    if not config.tie_embeddings:
        params["unembedding"] = {"kernel": normal((width, config.vocab_size), 0.02)}
    return params


def unstack(params: PyTree) -> PyTree:
    """Parameters with a tuple of layers instead of arrays stacked over them.

    `hidden` takes either, but a loop that calls it with a cache should unstack the parameters before: a layer's part of
    a stacked array is a copy, which compilers leave inside the loop, where it is made at every step.

    Args:
        params: parameters, as `init` returns them; if they are unstacked already, nothing happens.

    Returns:
        The parameters, "layers" being a tuple of dicts.
    """
    layers = params["layers"]
    if isinstance(layers, tuple):
        return params
    num_layers = len(layers["attention_norm"])
    return params | {"layers": tuple(jax.tree.map(lambda leaf: leaf[i], layers) for i in range(num_layers))}


def init_cache(config: Config, batch: tuple[int, ...], capacity: int) -> Cache:
    """An empty cache.

    Args:
        config: the structure.
        batch: leading axes of the tokens.
        capacity: number of slots: tokens of prompts and continuations, padding included.

    Returns:
        The cache.
    """
    zeros = lambda *shape: tuple(
        jnp.zeros((*batch, config.num_key_value_heads, *shape), config.dtype) for _ in range(config.num_layers)
    )
    no_token = jnp.zeros((*batch, capacity), bool)
    key, value = zeros(config.head_dim, capacity), zeros(capacity, config.head_dim)
    return Cache(key, value, no_token, jnp.zeros((), jnp.int32), jnp.zeros(batch, jnp.int32))


def hidden(
    config: Config,
    params: PyTree,
    tokens: Int[Array, "*batch time"],
    *,
    where: Bool[Array, "*batch time"] | None = None,
    positions: Int[Array, "*batch time"] | None = None,
    segment: Int[Array, "*batch time"] | None = None,
    cache: Cache | None = None,
    remat: bool = False,
) -> tuple[Float[Array, "*batch time hidden"], Cache | None]:
    """Representations of the tokens, each of the real tokens up to it, after the last norm.

    Args:
        config: the structure; static.
        params: parameters, as `init` returns them.
        tokens: token indices; an index outside of the vocabulary gives NaN.
        where: True at real tokens; others (padding on either side) are attended to by none. All are real if None.
        positions: rotary positions; the number of real tokens before, those in the cache included, if None.
        segment: number of the sequence that a token belongs to, where several are packed into a row, without a cache:
            tokens attend to those of their own alone. All belong to one if None. Then positions must be given.
        cache: keys and values of earlier tokens, which come before these.
        remat: static; recompute each layer in the backward pass instead of storing what it computed.

    Returns:
        The representations in `config.dtype`, of no meaning where padded, and the cache with these tokens (None if
        there was none). Representations are NaN if the tokens do not fit into what is left of the cache, whose fill is
        known only at run time.

    Raises:
        ValueError: for tokens that are not integers, a mask that is not boolean, shapes that do not fit, or more tokens
            than the cache has slots.

    References:
        Touvron et al., 2023, "LLaMA: Open and Efficient Foundation Language Models", arXiv:2302.13971.
        Yang et al., 2025, "Qwen3 Technical Report", arXiv:2505.09388 (norms of queries and keys).
    """
    _check(config, tokens, where, positions, cache)
    time = tokens.shape[-1]
    where = jnp.ones(tokens.shape, bool) if where is None else where
    if positions is None:
        before = 0 if cache is None else cache.position[..., None]
        positions = before + jnp.maximum(jnp.cumsum(where, -1, dtype=jnp.int32) - 1, 0)
    cosine_sine = _rotation(config, positions)

    # A NaN of a token that is only masked in the attention would still spread as 0 · NaN.
    x = jnp.take(params["embedding"], jnp.where(where, tokens, 0), axis=0).astype(config.dtype)

    if cache is None:
        readable, before = where, 0
        cached = [None] * config.num_layers
    else:
        readable, before = lax.dynamic_update_slice_in_dim(cache.where, where, cache.length, axis=-1), cache.length
        cached = [(*key_value, cache.length) for key_value in zip(cache.key, cache.value, strict=True)]

    # Query t, the one after `before + t` slots, reads slots up to its own; of few queries the mask is made once.
    visible = lambda first, count: (
        (jnp.arange(readable.shape[-1]) <= before + first + jnp.arange(count)[:, None]) & readable[..., None, :]
    )
    if segment is not None:
        visible = _within(visible, segment)
    if time == 1 and cache is not None:
        # Whatever is in the cache comes before a single token, also where slots are used again.
        visible = lambda first, count: readable[..., None, :]
    elif time <= QUERIES:
        mask = visible(0, time)
        visible = lambda first, count: mask
    stacked = cache is None and isinstance(params["layers"], dict) and config.num_layers > UNROLLED
    run = lambda layer, x, cached: _layer(config, layer, x, cosine_sine, visible, cached)
    run = jax.checkpoint(run, prevent_cse=not stacked) if remat else run
    if stacked:
        x, _ = lax.scan(lambda x, layer: (run(layer, x, None)[0], None), x, params["layers"])
    else:
        for i, layer in enumerate(unstack(params)["layers"]):
            x, cached[i] = run(layer, x, cached[i])
    if cache is not None:
        position = jnp.maximum(cache.position, jnp.max(jnp.where(where, positions + 1, 0), -1))
        cache = Cache(*map(tuple, zip(*cached, strict=True)), readable, cache.length + time, position)
        x = jnp.where(cache.length <= readable.shape[-1], x, jnp.nan)
    return _rms_norm(x, params["final_norm"], config.rms_norm_eps), cache


def unembed(
    config: Config, params: PyTree, hidden: Float[Array, "*batch hidden"]
) -> Float[Array, "*batch {config.vocab_size}"]:
    """Logits of the next token, in at least float32.

    Args:
        config: the structure; static.
        params: parameters.
        hidden: representations, as `hidden` returns them.

    Returns:
        The logits.
    """
    wide = jnp.promote_types(config.dtype, jnp.float32)
    if config.tie_embeddings:
        embedding = params["embedding"].astype(config.dtype)
        return jnp.einsum("...d,vd->...v", hidden, embedding, preferred_element_type=wide)
    kernel = params["unembedding"]["kernel"].astype(config.dtype)
    return jnp.einsum("...d,dv->...v", hidden, kernel, preferred_element_type=wide)


def apply(
    config: Config,
    params: PyTree,
    tokens: Int[Array, "*batch time"],
    *,
    where: Bool[Array, "*batch time"] | None = None,
    positions: Int[Array, "*batch time"] | None = None,
    cache: Cache | None = None,
    remat: bool = False,
) -> Float[Array, "*batch time vocab"] | tuple[Float[Array, "*batch time vocab"], Cache]:
    """Logits of the token that follows each token; arguments and errors are those of `hidden`.

    Returns:
        The logits in at least float32; with a cache the pair (logits, cache).
    """
    x, new_cache = hidden(config, params, tokens, where=where, positions=positions, cache=cache, remat=remat)
    logits = unembed(config, params, x)
    return logits if cache is None else (logits, new_cache)


def _within(visible, segment):
    """What queries may read, of their own segment alone."""
    # Blocks of queries may go beyond the last one.
    longer = jnp.pad(segment, [(0, 0)] * (segment.ndim - 1) + [(0, QUERIES)], constant_values=-1)

    def readable(first, count):
        own = lax.dynamic_slice_in_dim(longer, first, count, axis=-1)
        return visible(first, count) & (own[..., :, None] == segment[..., None, :])

    return readable


def _layer(config, layer, x, cosine_sine, visible, cached=None):
    """x + attention(norm(x)), and then x + MLP(norm(x)); the keys and values are returned too."""
    normalized = _rms_norm(x, layer["attention_norm"], config.rms_norm_eps)
    attended, key_value = _attention(config, layer, normalized, cosine_sine, visible, cached)
    x = x + attended
    y = _rms_norm(x, layer["mlp_norm"], config.rms_norm_eps)
    return x + _dense(layer["down"], jax.nn.silu(_dense(layer["gate"], y)) * _dense(layer["up"], y)), key_value


def _attention(config, layer, x, cosine_sine, visible, cached):
    """Attention, with keys and values; `visible(first, count)` says which slots queries from the first on may read."""
    heads = lambda name: _dense(layer[name], x).reshape(*x.shape[:-1], -1, config.head_dim)
    query, key, value = heads("query"), heads("key"), heads("value")
    if config.qk_norm:
        query = _rms_norm(query, layer["query_norm"], config.rms_norm_eps)
        key = _rms_norm(key, layer["key_norm"], config.rms_norm_eps)
    query, key = _rotate(query, cosine_sine), _rotate(key, cosine_sine)

    key, value = jnp.moveaxis(key, -3, -1), jnp.moveaxis(value, -3, -2)
    if cached is not None:
        *caches, length = cached
        write = lambda cache, new, axis: lax.dynamic_update_slice_in_dim(cache, new, length, axis)
        key, value = map(write, caches, (key, value), (-1, -2))

    # Query head h reads key head h // (H / num_key_value_heads): the queries of one key head form a group.
    *batch, time, _ = x.shape
    query = query.reshape(*batch, time, config.num_key_value_heads, -1, config.head_dim) * config.head_dim**-0.5
    query = jnp.moveaxis(query, -4, -2)  # [*batch, head, group, time, head_dim]
    if time <= QUERIES:
        attended = _attend(query, key, value, visible(0, time))
    else:
        num_blocks = -(-time // QUERIES)
        query = jnp.pad(query, [(0, 0)] * (query.ndim - 2) + [(0, num_blocks * QUERIES - time), (0, 0)])
        blocks = jnp.moveaxis(query.reshape(*query.shape[:-2], num_blocks, QUERIES, config.head_dim), -3, 0)
        attend = jax.checkpoint(lambda query, first: _attend(query, key, value, visible(first, QUERIES)))
        attended = lax.map(lambda block: attend(*block), (blocks, QUERIES * jnp.arange(num_blocks)))
        attended = jnp.moveaxis(attended, 0, -3).reshape(query.shape)[..., :time, :]
    return _dense(layer["output"], jnp.moveaxis(attended, -2, -4).reshape(*batch, time, -1)), (key, value)


def _attend(query, key, value, mask):
    """softmax(query · key) · value over the slots that the mask has, the products in the dtype of queries."""
    wide = jnp.promote_types(query.dtype, jnp.float32)
    *batch, heads, _, _, width = query.shape
    grouped = query.reshape(*batch, heads, -1, width)
    scores = jnp.matmul(grouped, key, preferred_element_type=wide).reshape(*query.shape[:-1], -1)
    # Finite, since a padded query before the first token attends to nothing.
    scores = jnp.where(mask[..., None, None, :, :], scores, jnp.finfo(wide).min)
    probability = jax.nn.softmax(scores, axis=-1).astype(query.dtype)
    return (probability.reshape(*grouped.shape[:-1], -1) @ value).reshape(query.shape)


def _dense(layer, x):
    y = x @ layer["kernel"].astype(x.dtype)
    return y + layer["bias"].astype(x.dtype) if "bias" in layer else y


def _rms_norm(x, scale, eps):
    """x / √(mean(x²) + ε) · scale, the mean and the quotient in at least float32."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    normalized = wide * lax.rsqrt(jnp.mean(wide**2, -1, keepdims=True) + eps)
    return normalized.astype(x.dtype) * scale.astype(x.dtype)


def _rotation(config, positions):
    """Cosine and sine of the angles position · frequency, [*batch, time, 1, head_dim / 2], in at least float32."""
    frequency = config.rope_theta ** -(np.arange(0, config.head_dim, 2) / config.head_dim)
    if config.rope_scaling is not None:
        frequency = _stretch(frequency, config.rope_scaling)
    wide = jnp.promote_types(config.dtype, jnp.float32)
    angle = positions[..., None, None].astype(wide) * jnp.asarray(frequency, wide)
    return jnp.cos(angle), jnp.sin(angle)


def _stretch(frequency, scaling):
    """Llama 3's frequencies: divided by the factor below a band, unchanged above it, interpolated inside."""
    turns = scaling.original_max_position_embeddings * frequency / (2 * np.pi)  # within the original context
    kept = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    kept = np.clip(kept, 0, 1)
    return kept * frequency + (1 - kept) * frequency / scaling.factor


def _rotate(x, cosine_sine):
    """Turns each pair (x_i, x_{i + head_dim/2}) by its angle."""
    cosine, sine = cosine_sine
    first, second = jnp.split(x.astype(cosine.dtype), 2, axis=-1)
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], -1).astype(x.dtype)


def _check(config, tokens, where, positions, cache):
    for name, indices in (("tokens", tokens), ("positions", positions)):
        if indices is not None and not jnp.issubdtype(indices.dtype, jnp.integer):
            raise ValueError(f"{name} must be integers, got dtype {indices.dtype} with shape {indices.shape}")
    check_mask(where)
    for name, array in (("where", where), ("positions", positions)):
        if array is not None and array.shape != tokens.shape:
            raise ValueError(f"{name} must have the shape {tokens.shape} of tokens, got {array.shape}")
    if cache is not None:
        if len(cache.key) != config.num_layers:
            raise ValueError(
                f"cache must have num_layers={config.num_layers} layers, got {len(cache.key)}; "
                "make it with init_cache and the same config"
            )
        if cache.position.shape != tokens.shape[:-1]:
            raise ValueError(f"cache must be for sequences {tokens.shape[:-1]}, got one for {cache.position.shape}")
        if tokens.shape[-1] > cache.where.shape[-1]:
            raise ValueError(
                f"tokens must fit into the cache's {cache.where.shape[-1]} slots, got {tokens.shape[-1]} of them; "
                "make the cache with a larger capacity"
            )
