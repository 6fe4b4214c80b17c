"""A surrogate whose importance ratio is bounded smoothly and penalized like a hazard instead of clipped."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, elements, like


def hazard_modulated_surrogate(
    log_prob: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    advantage: Float[Array, "*#batch"],
    *,
    bound: Scalar = 1.5,
    positive_shape: Scalar = 1.5,
    positive_scale: Scalar = 1.0,
    negative_shape: Scalar = 2.0,
    negative_scale: Scalar = 0.8,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Surrogate with a bounded log-ratio, damped by a Weibull hazard of each direction of policy shift (MHPO).

    With ℓ = log π − log π_b, ψ = bound · tanh(ℓ / bound) and
    ζ = (softplus(ψ) / positive_scale)^positive_shape + (softplus(−ψ) / negative_scale)^negative_shape,
    L = −A · exp(ψ − sg(ζ)). Its gradient −A · exp(ψ − ζ) · sech²(ℓ / bound) is never cut off and at most
    |A| · exp(bound). On-policy it is 0.265 of the policy gradient with the defaults, so a comparison at equal
    step size multiplies the loss by 1 / 0.265. For infinite scales and a large bound L → −A · π / π_b. Two
    powers, two softplus and a tanh per element cost more than the memory traffic.

    Args:
        log_prob: log π(a|s) of the taken actions [*batch]; carries the gradient.
        behavior_log_prob: the same under the policy that generated the data; a constant.
        advantage: advantage A [*batch]; a constant. One per sequence is passed as advantage[..., None].
        bound: largest absolute modulated log-ratio ψ, positive and finite.
        positive_shape: Weibull shape of the hazard of a rising probability.
        positive_scale: its scale; a larger one penalizes later.
        negative_shape: Weibull shape of the hazard of a falling probability.
        negative_scale: its scale.
        where: boolean mask, True where an element counts.

    Returns:
        Loss per element, 0 where masked; the paper averages it by `rlx.reduce.sequence_mean`.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import policy
        >>> log_ratio = jnp.array([-2.0, 0.0, 2.0, 50.0])
        >>> print(np.asarray(policy.hazard_modulated_surrogate(log_ratio, jnp.zeros(4), jnp.ones(4))).round(3))
        [-0.006 -0.265 -0.494 -0.457]

    References:
        Wang et al., 2026, "MHPO: Modulated Hazard-aware Policy Optimization for Stable Reinforcement Learning",
        arXiv:2603.16929.

    Reconstruction:
        The formula and its defaults rest on two public summaries of the paper that agree, one of them with
        code; the paper's own text was not read.
    """
    log_prob, behavior_log_prob, advantage = elements(
        log_prob=log_prob, behavior_log_prob=behavior_log_prob, advantage=advantage, where=where
    )
    behavior_log_prob, advantage = lax.stop_gradient((behavior_log_prob, advantage))
    bound, positive_shape, positive_scale, negative_shape, negative_scale = like(
        log_prob, bound, positive_shape, positive_scale, negative_shape, negative_scale
    )
    modulated = bound * jnp.tanh((log_prob - behavior_log_prob) / bound)
    # The hazard scales the gradient only: differentiated, it could turn the gradient's sign.
    shift = lax.stop_gradient(modulated)
    hazard = (jax.nn.softplus(shift) / positive_scale) ** positive_shape
    hazard += (jax.nn.softplus(-shift) / negative_scale) ** negative_shape
    return -advantage * jnp.exp(modulated - hazard)
