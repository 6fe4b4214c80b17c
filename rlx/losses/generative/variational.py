"""Losses of variational generative models of actions."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, check_mask, elements, like


def conditional_vae(
    reconstruction: Float[Array, "..."],
    target: Float[Array, "..."],
    mean: Float[Array, "..."],
    log_std: Float[Array, "..."],
    *,
    weight: Float[Array, "..."] | None = None,
    kl_weight: Scalar = 0.5,
    where: Bool[Array, "..."] | None = None,
) -> Float[Array, "..."]:
    """Loss of a conditional variational autoencoder (CVAE), with a weight on what it has to reconstruct (A2PR).

    L = w·mean_d (x̂_d − x_d)² + kl_weight·mean_l ½·(μ_l² + σ_l² − 1 − 2 log σ_l), the second part the KL
    divergence of N(μ, σ²) from N(0, 1) per latent dimension. A2PR's w is vae_weight·1[Q(s, a) > V(s)]: only
    actions of positive advantage are imitated, while the KL counts for every sample.

    Args:
        reconstruction: decoded x̂ [*batch, dim]; carries the gradient.
        target: what was encoded, x [*batch, dim]; a constant.
        mean: mean μ of the latent code [*batch, latent]; carries the gradient.
        log_std: logarithm of its standard deviation σ [*batch, latent], clipped by the encoder, to [−4, 15]
            in A2PR; carries the gradient.
        weight: w [*batch]; a constant. None for 1.
        kl_weight: weight of the divergence.
        where: boolean mask [*batch], True where an element counts.

    Returns:
        Loss per element [*batch], 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import generative
        >>> target, zero = jnp.ones((2, 2)), jnp.zeros((2, 2))
        >>> mean, weight = jnp.array([[0.0, 0.0], [2.0, 0.0]]), jnp.array([1.0, 0.0])
        >>> print(generative.conditional_vae(zero, target, mean, zero, weight=weight))
        [1.  0.5]

    References:
        Liu et al., 2024, "Adaptive Advantage-Guided Policy Regularization for Offline Reinforcement Learning",
        arXiv:2405.19909 (A2PR).
        Sohn, Lee and Yan, 2015, "Learning Structured Output Representation using Deep Conditional Generative
        Models".
    """
    check_mask(where)
    mask = None if where is None else jnp.expand_dims(where, -1)
    reconstruction, target, weight = elements(
        reconstruction=reconstruction,
        target=target,
        weight=1.0 if weight is None else jnp.expand_dims(weight, -1),
        where=mask,
    )
    mean, log_std = elements(mean=mean, log_std=log_std, where=mask)
    (kl_weight,) = like(mean, kl_weight)
    error = lax.stop_gradient(weight) * jnp.square(reconstruction - lax.stop_gradient(target))
    divergence = (jnp.square(mean) + jnp.expm1(2 * log_std) - 2 * log_std) / 2
    return jnp.mean(error, -1) + kl_weight * jnp.mean(divergence, -1)
