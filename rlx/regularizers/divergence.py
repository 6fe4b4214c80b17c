"""Divergences between distributions, exact or estimated from samples, in nats."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, check_choice, elements, like

ESTIMATORS = {
    "k1": lambda d: -d,
    "k2": lambda d: jnp.square(d) / 2,
    "k3": lambda d: jnp.expm1(d) - d,
    "abs": jnp.abs,
}


def kl_estimate(
    log_prob: Float[Array, "*#batch"],
    reference_log_prob: Float[Array, "*#batch"],
    *,
    kind: str = "k3",
    where: Bool[Array, "*#batch"] | None = None,
    bound: Scalar | None = None,
) -> Float[Array, "*batch"]:
    """Estimate of KL(π ‖ π_ref) from one sample of π per element.

    With d = log π_ref − log π: k1 = −d, k2 = d²/2, k3 = exp(d) − d − 1, abs = |d|. k1 and k3 are unbiased in
    value, k3 is never negative; of the gradients through `log_prob` only that of k2 is unbiased.

    Args:
        log_prob: log π of samples drawn from π [*batch]; carries the gradient.
        reference_log_prob: the same under the reference policy; a constant.
        kind: static; "k1", "k2", "k3" or "abs".
        where: boolean mask, True where an element counts.
        bound: largest absolute value, beyond which the gradient is 0; None for no bound.

    Returns:
        Estimate per element in nats, 0 where masked.

    Raises:
        ValueError: for an unknown `kind`, a non-floating array, a non-boolean `where`, or unfitting shapes.

    References:
        Schulman, 2020, "Approximating KL Divergence" (k1, k2, k3).
        Tang and Munos, 2025, "On a few pitfalls in KL divergence gradient estimation for RL",
        arXiv:2506.09477.
    """
    check_choice("kind", kind, tuple(ESTIMATORS))
    log_prob, reference_log_prob = elements(log_prob=log_prob, reference_log_prob=reference_log_prob, where=where)
    estimate = ESTIMATORS[kind](lax.stop_gradient(reference_log_prob) - log_prob)
    if bound is None:
        return estimate
    (bound,) = like(estimate, bound)
    return jnp.clip(estimate, -bound, bound)


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
