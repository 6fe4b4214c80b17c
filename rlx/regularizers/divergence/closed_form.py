"""Divergences in closed form, in nats."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from rlx.types import elements


def kl_gaussian(
    mean: Float[Array, "..."],
    std: Float[Array, "..."],
    reference_mean: Float[Array, "..."],
    reference_std: Float[Array, "..."],
    *,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Kullback-Leibler divergence KL(p ‖ q) between diagonal Gaussians p and q, summed over their dimensions.

    KL = Σ_i [log(σ_q / σ_p) + (σ_p² + (μ_p − μ_q)²) / (2 σ_q²) − ½]. Differentiable in both: PPO's penalty
    KL(π_old ‖ π) has the policy in training second.

    Args:
        mean: means μ_p [*batch, dim].
        std: standard deviations σ_p, positive.
        reference_mean: means μ_q.
        reference_std: standard deviations σ_q, positive.
        axis: static; the axis of the dimensions, counted in the broadcast shape. Scalars are one dimension.

    Returns:
        Divergence [*batch] in nats.

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.regularizers import divergence
        >>> mean, std = jnp.array([[1.0, 0.0], [0.0, 0.0]]), jnp.array([[1.0, 1.0], [1.0, 2.0]])
        >>> print(np.asarray(divergence.kl_gaussian(mean, std, jnp.zeros(2), jnp.ones(2))).round(3))
        [0.5   0.807]

    References:
        Kullback and Leibler, 1951, "On Information and Sufficiency".
    """
    mean, std, reference_mean, reference_std = elements(
        mean=mean, std=std, reference_mean=reference_mean, reference_std=reference_std
    )
    ratio = std / reference_std
    distance = (mean - reference_mean) / reference_std
    per_dimension = (jnp.square(ratio) + jnp.square(distance) - 1) / 2 - jnp.log(ratio)
    return jnp.sum(jnp.atleast_1d(per_dimension), axis)


def kl_categorical(
    logits: Float[Array, "..."], reference_logits: Float[Array, "..."], *, axis: int = -1
) -> Float[Array, "..."]:
    """Kullback-Leibler divergence KL(p ‖ q) between categorical distributions.

    KL = Σ_a p_a (log p_a − log q_a), with p = softmax(logits), q = softmax(reference_logits) and 0·log 0 = 0.
    An action of logit −inf under p adds nothing; one that only q excludes gives +inf. Differentiable in both.

    Args:
        logits: unnormalized log-probabilities of p [*batch, action]; −inf for an action that is not
            available.
        reference_logits: the same of q.
        axis: static; the action axis, counted in the broadcast shape.

    Returns:
        Divergence [*batch] in nats.

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.regularizers import divergence
        >>> p, q = jnp.array([[0.5, 0.5], [1.0, 0.0]]), jnp.array([0.9, 0.1])
        >>> print(np.asarray(divergence.kl_categorical(jnp.log(p), jnp.log(q))).round(3))
        [0.511 0.105]

    References:
        Kullback and Leibler, 1951, "On Information and Sufficiency".
    """
    logits, reference_logits = elements(logits=logits, reference_logits=reference_logits)
    wide = [x.astype(jnp.promote_types(x.dtype, jnp.float32)) for x in jnp.broadcast_arrays(logits, reference_logits)]
    return jnp.squeeze(_kl(*wide, axis), axis).astype(logits.dtype)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _kl(logits: Array, reference_logits: Array, axis: int) -> Array:
    log_sum, reference_log_sum = _log_sums(logits, reference_logits, axis)
    surprise = jnp.minimum(log_sum - logits, jnp.finfo(logits.dtype).max)
    reference_surprise = jnp.where(logits > -jnp.inf, reference_log_sum - reference_logits, 0)
    return jnp.sum(jnp.exp(-surprise) * (reference_surprise - surprise), axis, keepdims=True)


def _kl_jvp(axis: int, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """Σ_a p_a (log p_a/q_a − KL) ż_a + Σ_a (q_a − p_a) ẏ_a, without storing what the chain rule would."""
    (logits, reference_logits), (slope, reference_slope) = primals, tangents
    divergence = _kl(logits, reference_logits, axis)
    log_sum, reference_log_sum = _log_sums(logits, reference_logits, axis)
    # Not the surprises of the value: what the compiler finds twice it stores, and storing costs more than exp.
    log_p, log_q = logits - log_sum, reference_logits - reference_log_sum
    change = jnp.zeros_like(divergence)
    # Most often the reference is constant: nothing is stored for a gradient that nobody asks for.
    if not isinstance(slope, SymbolicZero):
        log_ratio = jnp.where(logits > -jnp.inf, log_p - log_q, 0)
        change += jnp.sum(jnp.exp(log_p) * (log_ratio - divergence) * slope, axis, keepdims=True)
    if not isinstance(reference_slope, SymbolicZero):
        change += jnp.sum((jnp.exp(log_q) - jnp.exp(log_p)) * reference_slope, axis, keepdims=True)
    return divergence, change


_kl.defjvp(_kl_jvp, symbolic_zeros=True)


def _log_sums(logits: Array, reference_logits: Array, axis: int) -> tuple[Array, Array]:
    return tuple(jax.nn.logsumexp(x, axis, keepdims=True) for x in (logits, reference_logits))
