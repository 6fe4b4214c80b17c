"""Divergences in closed form, in nats."""

import jax
import jax.numpy as jnp
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
    """KL(p ‖ q) between diagonal Gaussians p and q, summed over their dimensions.

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
    """KL(p ‖ q) between categorical distributions.

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

    References:
        Kullback and Leibler, 1951, "On Information and Sufficiency".
    """
    logits, reference_logits = elements(logits=logits, reference_logits=reference_logits)
    log_p = jax.nn.log_softmax(logits, axis)
    log_q = jax.nn.log_softmax(reference_logits, axis)
    support = log_p > -jnp.inf
    return jnp.sum(jnp.exp(log_p) * (jnp.where(support, log_p, 0) - jnp.where(support, log_q, 0)), axis)
