"""Entropies of action distributions, in nats."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rlx.types import elements


def categorical_entropy(logits: Float[Array, "..."], *, axis: int = -1) -> Float[Array, "..."]:
    """Shannon entropy of a categorical distribution, finite with masked actions.

    H = −Σ_a p_a log p_a with p = softmax(logits), and 0·log 0 = 0: an action of logit −inf adds nothing, and
    gets no gradient.

    Args:
        logits: unnormalized log-probabilities [*batch, action]; −inf for an action that is not available.
        axis: static; the action axis.

    Returns:
        Entropy [*batch] in nats.

    Raises:
        ValueError: if `logits` is not floating.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.regularizers import entropy
        >>> logits = jnp.array([[0.0, 0.0, -jnp.inf], [0.0, -jnp.inf, -jnp.inf]])
        >>> print(np.asarray(entropy.categorical_entropy(logits)).round(3))
        [0.693 0.   ]

    References:
        Shannon, 1948, "A Mathematical Theory of Communication".
        Mnih et al., 2016, "Asynchronous Methods for Deep Reinforcement Learning", arXiv:1602.01783 (as a
        bonus).
    """
    (logits,) = elements(logits=logits)
    wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    return jnp.squeeze(_entropy(wide, axis), axis).astype(logits.dtype)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _entropy(logits: Array, axis: int) -> Array:
    log_sum = jax.nn.logsumexp(logits, axis, keepdims=True)
    surprise = jnp.minimum(log_sum - logits, jnp.finfo(logits.dtype).max)  # so that 0·log 0 = 0
    return jnp.sum(jnp.exp(-surprise) * surprise, axis, keepdims=True)


@_entropy.defjvp
def _entropy_jvp(axis: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """Ḣ = −Σ_a p_a (log p_a + H) ż_a, written out because the chain rule would store the distribution thrice."""
    (logits,), (slope,) = primals, tangents
    entropy = _entropy(logits, axis)
    # Not the surprise of the value: what the compiler finds twice it stores, and storing costs more than exp.
    log_prob = logits - jax.nn.logsumexp(logits, axis, keepdims=True)
    bounded = jnp.maximum(log_prob, jnp.finfo(logits.dtype).min)
    return entropy, -jnp.sum(jnp.exp(log_prob) * (bounded + entropy) * slope, axis, keepdims=True)


def gaussian_entropy(log_std: Float[Array, "..."], *, axis: int = -1) -> Float[Array, "..."]:
    """Differential entropy of a diagonal Gaussian.

    H = Σ_i (log σ_i + ½ log 2πe).

    Args:
        log_std: log standard deviation of each action dimension [*batch, action].
        axis: static; the action axis.

    Returns:
        Entropy [*batch] in nats.

    Raises:
        ValueError: if `log_std` is not floating.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.regularizers import entropy
        >>> print(np.asarray(entropy.gaussian_entropy(jnp.log(jnp.array([[1.0, 1.0], [0.5, 0.5]])))).round(3))
        [2.838 1.452]

    References:
        Cover and Thomas, 2006, "Elements of Information Theory" (theorem 8.4.1).
    """
    (log_std,) = elements(log_std=log_std)
    return jnp.sum(log_std + math.log(2 * math.pi * math.e) / 2, axis)
