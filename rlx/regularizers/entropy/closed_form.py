"""Entropies of action distributions, in nats."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rlx.types import elements


def categorical_entropy(logits: Float[Array, "..."], *, axis: int = -1) -> Float[Array, "..."]:
    """Entropy of a categorical distribution, finite with masked actions.

    H = −Σ_a p_a log p_a with p = softmax(logits), and 0·log 0 = 0: an action of logit −inf adds nothing, and
    gets no gradient.

    Args:
        logits: unnormalized log-probabilities [*batch, action]; −inf for an action that is not available.
        axis: static; the action axis.

    Returns:
        Entropy [*batch] in nats.

    Raises:
        ValueError: if `logits` is not floating.

    References:
        Shannon, 1948, "A Mathematical Theory of Communication".
        Mnih et al., 2016, "Asynchronous Methods for Deep Reinforcement Learning", arXiv:1602.01783 (as a
        bonus).
    """
    (logits,) = elements(logits=logits)
    log_prob = jax.nn.log_softmax(logits, axis)
    return -jnp.sum(jnp.exp(log_prob) * jnp.where(log_prob > -jnp.inf, log_prob, 0), axis)


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

    References:
        Cover and Thomas, 2006, "Elements of Information Theory" (theorem 8.4.1).
    """
    (log_std,) = elements(log_std=log_std)
    return jnp.sum(log_std + math.log(2 * math.pi * math.e) / 2, axis)
