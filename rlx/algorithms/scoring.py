"""What a model says of the tokens of responses: log-probabilities and entropies, values and rewards."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rlx.algorithms import packing
from rlx.algorithms.responses import Responses
from rlx.policies import transformer
from rlx.regularizers.entropy import categorical_entropy
from rlx.types import Scalar


class TokenScores(NamedTuple):
    """What a model says of the tokens of responses.

    Attributes:
        log_prob: of each token.
        entropy: of the distribution that it was drawn from.
        logits: of that distribution, or None.
    """

    log_prob: Float[Array, "prompt group time"]
    entropy: Float[Array, "prompt group time"]
    logits: Float[Array, "prompt group time vocab"] | None


def in_microbatches(function: Callable[[Responses], PyTree], batch: Responses, size: int | None) -> PyTree:
    """What a function of responses gives for each, computed for `size` of them at a time.

    The backward pass computes what the function did anew, again for so many at a time: whatever is made of the results
    then has the gradient of the whole batch, in the memory of a microbatch.

    Args:
        function: of a batch, whose results have the leading axes `[prompt, group]`; only tokens, masks and
            temperatures are those of a microbatch.
        batch: the responses.
        size: static; how many at a time; None for all at once.

    Raises:
        ValueError: a size below one.
    """
    if size is not None and size < 1:
        raise ValueError(f"microbatch_size must be at least 1, got {size}")
    shape = batch.token.shape[:2]
    count = shape[0] * shape[1]
    if size is None or size >= count:
        return function(batch)
    names = ("prompt", "prompt_where", "token", "present", "where", "temperature")
    known = {name: getattr(batch, name) for name in names if getattr(batch, name) is not None}
    rows = {name: x.reshape(count, *x.shape[2:]) for name, x in known.items()}

    @jax.checkpoint
    def of_rows(rows: dict[str, Array]) -> PyTree:
        found = function(batch._replace(**{name: x[:, None] for name, x in rows.items()}))
        return jax.tree.map(lambda x: x[:, 0], found)

    whole = count - count % size
    chunks = {name: x[:whole].reshape(-1, size, *x.shape[1:]) for name, x in rows.items()}
    found = jax.tree.map(lambda x: x.reshape(whole, *x.shape[2:]), jax.lax.map(of_rows, chunks))
    if whole < count:
        rest = of_rows({name: x[whole:] for name, x in rows.items()})
        found = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), found, rest)
    return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), found)


def features(
    config: transformer.Config, params: PyTree, batch: Responses, *, after: bool = False, remat: bool = False
) -> Float[Array, "prompt group time hidden"]:
    """Representations of what is before each token of the responses, from which it is predicted, or of what it ends.

    Args:
        config: structure of the model.
        params: its parameters.
        batch: with the tokens.
        after: static; of what ends with each token, instead of what is before it.
        remat: static; recompute each layer in the backward pass.
    """
    tokens = jnp.concatenate([batch.prompt, batch.token], axis=-1)
    where = jnp.concatenate([batch.prompt_where, batch.present], axis=-1)
    x, _ = transformer.hidden(config, params, tokens, where=where, remat=remat)
    first = batch.prompt.shape[-1]
    return x[..., first:, :] if after else x[..., first - 1 : -1, :]


def judge(
    config: transformer.Config,
    params: PyTree,
    head: Float[Array, " hidden"],
    batch: Responses,
    *,
    after: bool = False,
    remat: bool = False,
    microbatch_size: int | None = None,
) -> Float[Array, "prompt group time"]:
    """A number for each token of the responses: a linear head on the representations of a model, in float32.

    Args:
        config: structure of the model.
        params: its parameters.
        head: weights of the head.
        batch: with the tokens.
        after: static; of what ends with each token, instead of what is before it, as of `features`.
        remat: static; recompute each layer in the backward pass.
        microbatch_size: static; responses that are judged at a time, as of `in_microbatches`.
    """
    weight = head.astype(jnp.float32)
    of_rows = lambda batch: features(config, params, batch, after=after, remat=remat).astype(jnp.float32) @ weight
    return in_microbatches(of_rows, batch, microbatch_size)


def score(
    config: transformer.Config,
    params: PyTree,
    batch: Responses,
    *,
    temperature: Scalar | Float[Array, "prompt group"] | None = None,
    distribution: bool = False,
    remat: bool = False,
    microbatch_size: int | None = None,
    packed_share: float = 0.0,
) -> TokenScores:
    """Log-probabilities and entropies of the responses' tokens under a policy.

    Args:
        config: structure of the policy.
        params: its parameters; carry the gradient.
        batch: with the tokens.
        temperature: that the logits are divided by, one or that of each response; None for 1.
        distribution: keep the logits, `[prompt, group, time, vocab]` in float32; otherwise they exist in chunks only.
        remat: recompute each layer in the backward pass.
        microbatch_size: static; responses that are scored at a time, as of `in_microbatches`.
        packed_share: static; responses are packed into rows, this share of as many as there are of them, where they
            fit; 0 for a row to each. It changes nothing but rounding, and pays where most responses are far shorter
            than the room for them. Under `vmap` both ways are computed, so that it does not pay.

    Raises:
        ValueError: packing together with logits that are kept or with microbatches.
    """
    if packed_share and (distribution or microbatch_size is not None):
        raise ValueError("packed_share must be 0 where logits are kept and where microbatch_size is given")
    heat = None if temperature is None else jnp.broadcast_to(temperature, batch.token.shape[:2])
    batch = batch._replace(temperature=heat)
    scored = partial(_score, config, params, distribution=distribution, remat=remat)
    if packed_share:
        rows = math.ceil(packed_share * batch.token.shape[0] * batch.token.shape[1])
        places = packing.places(batch, rows)
        packed = partial(_packed_score, config, params, rows=rows, remat=remat)
        return jax.lax.cond(places.fit, packed, lambda batch, _: scored(batch), batch, places)
    return in_microbatches(scored, batch, microbatch_size)


def _score(
    config: transformer.Config,
    params: PyTree,
    batch: Responses,
    *,
    distribution: bool,
    remat: bool,
) -> TokenScores:
    x = features(config, params, batch, remat=remat)
    if batch.temperature is not None:  # logits are linear in the representations
        x = x / batch.temperature[..., None, None].astype(x.dtype)
    if not distribution:
        found = transformer.token_statistics(x, _unembedding(config, params), batch.token, where=batch.where)
        return TokenScores(found.log_prob, found.entropy, None)
    logits = transformer.unembed(config, params, x)
    log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), batch.token[..., None], axis=-1)[..., 0]
    kept = lambda x: jnp.where(batch.where, x, 0.0)
    return TokenScores(kept(log_prob), kept(categorical_entropy(logits)), logits)


def _packed_score(
    config: transformer.Config,
    params: PyTree,
    batch: Responses,
    places: packing.Places,
    *,
    rows: int,
    remat: bool,
) -> TokenScores:
    """What `_score` gives without logits, by rows that hold several responses."""
    put = partial(packing.put, places, rows=rows)
    tokens = put(jnp.concatenate([batch.prompt, batch.token], axis=-1))
    segment = put(jnp.broadcast_to(places.number[..., None], places.slot.shape), blank=-1)
    x, _ = transformer.hidden(
        config, params, tokens, where=segment >= 0, positions=put(places.position), segment=segment, remat=remat
    )
    if batch.temperature is not None:
        heat = put(jnp.broadcast_to(batch.temperature[..., None], places.slot.shape), blank=1.0)
        x = x / heat[..., None].astype(x.dtype)
    # Each of the policy's own tokens is predicted from the slot before it.
    own = jnp.concatenate([jnp.zeros_like(batch.prompt_where), batch.where], axis=-1)
    before = lambda x: jnp.roll(x, -1, axis=-1)
    found = transformer.token_statistics(x, _unembedding(config, params), before(tokens), where=before(put(own)))
    taken = lambda x: jnp.where(batch.where, packing.take(places, x, shift=-1)[..., batch.prompt.shape[-1] :], 0.0)
    return TokenScores(taken(found.log_prob), taken(found.entropy), None)


def _unembedding(config: transformer.Config, params: PyTree) -> Float[Array, "hidden vocab"]:
    return params["embedding"].T if config.tie_embeddings else params["unembedding"]["kernel"]
