"""Entropy of the probable part of a distribution."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from rlx.types import Scalar, elements, like
from rlx.weighting.nucleus import nucleus_threshold


def nucleus_entropy(
    logits: Float[Array, "..."], *, top_p: Scalar = 0.8, include_boundary: bool = False, axis: int = -1
) -> Float[Array, "..."]:
    """Entropy among the most probable actions, deaf to the tail of a large vocabulary (SIREN, top-p).

    H = −Σ_{a∈N} q_a log q_a with q_a = p_a / Σ_N p and p = softmax(logits). N holds the actions, in descending
    order of p, strictly before the one at which their cumulative probability reaches top_p, or also that one
    (include_boundary, the usual nucleus). H = 0 without gradient where N is empty. N is constant: the gradient
    runs through q. Of equal probabilities at the boundary all share evenly in the places that are left, so that
    the order of actions does not matter. Time goes to `rlx.weighting.nucleus_threshold`, by which N is found
    without sorting.

    Args:
        logits: unnormalized log-probabilities [*batch, action], −inf for an action that is not available;
            carries the gradient.
        top_p: cumulative probability that bounds N, in (0, 1].
        include_boundary: static; whether N has the action that reaches top_p.
        axis: static; the action axis.

    Returns:
        Entropy [*batch] in nats.

    Raises:
        ValueError: if `logits` is not floating.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.regularizers import entropy
        >>> logits = jnp.log(jnp.array([0.4, 0.4, 0.1, 0.1]))
        >>> print(np.asarray(entropy.nucleus_entropy(logits, top_p=0.85)).round(3))
        0.693
        >>> print(np.asarray(entropy.categorical_entropy(logits)).round(3))
        1.194

    References:
        Jiang et al., 2025, "Rethinking Entropy Regularization in Large Reasoning Models", arXiv:2509.25133
        (the set as in the official code, Linn3a/siren).
        Holtzman et al., 2019, "The Curious Case of Neural Text Degeneration", arXiv:1904.09751 (the nucleus).
    """
    (logits,) = elements(logits=logits)
    wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    threshold = jnp.expand_dims(nucleus_threshold(logits, top_p=top_p, axis=axis), axis).astype(wide.dtype)
    share = _share(lax.stop_gradient(wide), threshold, *like(wide, top_p), include_boundary, axis)
    return _entropy_above(wide, threshold, share, axis).astype(logits.dtype)


def _share(logits: Array, threshold: Array, top_p: Array, include_boundary: bool, axis: int) -> Array:
    """Share in N of the actions at the threshold: all that lie above it are in N, all below are not."""
    log_sum = jax.nn.logsumexp(logits, axis, keepdims=True)
    above = jnp.sum(jnp.exp(jnp.where(logits > threshold, logits, -jnp.inf) - log_sum), axis, keepdims=True)
    tied = jnp.sum(logits == threshold, axis, keepdims=True, dtype=logits.dtype)
    places = jnp.ceil((top_p - above) / jnp.exp(threshold - log_sum)) - (0 if include_boundary else 1)
    return jnp.clip(places, 0, tied) / jnp.maximum(tied, 1)


@partial(jax.checkpoint, static_argnums=3)  # Recomputed for the gradient: only the logits are stored until then.
def _entropy_above(logits: Array, threshold: Array, share: Array, axis: int) -> Array:
    at_threshold = jnp.where((logits == threshold) & (share > 0), logits + jnp.log(share), -jnp.inf)
    kept = jnp.where(logits > threshold, logits, at_threshold)
    peak = lax.stop_gradient(jnp.max(logits, axis, keepdims=True))
    total = jnp.sum(jnp.exp(kept - peak), axis, keepdims=True)
    log_sum = peak + jnp.log(jnp.where(total > 0, total, 1))
    surprise = jnp.minimum(log_sum - logits, jnp.finfo(logits.dtype).max)  # so that 0 · log 0 = 0
    return jnp.sum(jnp.exp(kept - log_sum) * surprise, axis)
