"""Where the nucleus of a categorical distribution ends."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from rlx.ordinals import first_true, from_ordinal, ordinal
from rlx.types import Scalar, elements, like


def nucleus_threshold(logits: Float[Array, "..."], *, top_p: Scalar, axis: int = -1) -> Float[Array, "..."]:
    """Lowest logit of the nucleus, the fewest most probable actions that together have probability top_p (top-p).

    t = max {t : Σ_{a: logit_a ≥ t} p_a ≥ top_p} with p = softmax(logits), and −inf where rounding keeps all p_a
    from adding up to top_p. Top-p sampling keeps logits ≥ t.

    The threshold is bisected over the floating-point numbers, in one pass over the logits per bit of their
    dtype. That is some 15 copies of the logits in time on a CPU, where sorting them takes 20 times as long.

    Args:
        logits: unnormalized log-probabilities [*batch, action]; −inf for an action that is not available.
        top_p: probability of the nucleus, in (0, 1].
        axis: static; the action axis.

    Returns:
        The threshold [*batch], one of the logits, without gradient.

    Raises:
        ValueError: if `logits` is not floating.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import weighting
        >>> logits = jnp.log(jnp.array([0.5, 0.3, 0.15, 0.05]))
        >>> print(np.asarray(jnp.exp(weighting.nucleus_threshold(logits, top_p=0.7))).round(3))
        0.3

    References:
        Holtzman et al., 2019, "The Curious Case of Neural Text Degeneration", arXiv:1904.09751.
    """
    (logits,) = lax.stop_gradient(elements(logits=logits))
    wide = jnp.promote_types(logits.dtype, jnp.float32)
    log_sum = jax.nn.logsumexp(logits.astype(wide), axis, keepdims=True)
    (top_p,) = like(log_sum, top_p)

    def misses(rank: Array) -> Array:
        # Inside the exponential the selection depends on the step: XLA cannot hoist p out and store it.
        kept = jnp.where(logits >= from_ordinal(rank, logits.dtype), logits.astype(wide), -jnp.inf)
        return ~(jnp.sum(jnp.exp(kept - log_sum), axis, keepdims=True) >= top_p)

    high = ordinal(jnp.max(logits, axis, keepdims=True)) + 1
    low = jnp.broadcast_to(ordinal(jnp.asarray(-jnp.inf, logits.dtype)), high.shape)
    # From one above the lowest: -inf is the threshold where rounding lets nothing reach top_p.
    beyond = first_true(misses, low + 1, high, steps=jnp.finfo(logits.dtype).bits)
    return jnp.squeeze(from_ordinal(beyond - 1, logits.dtype), axis)
