"""Advantages that depend on how sure the policy has become of its answer."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean
from rlx.types import Scalar, elements, floating, like


def confidence_penalty(
    advantage: Float[Array, "..."],
    log_prob: Float[Array, "..."],
    reference_log_prob: Float[Array, "..."],
    *,
    coefficient: Scalar = 1.0,
    normalize_length: bool = False,
    where: Bool[Array, "..."] | None = None,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Advantage in which wrong answers weigh more the surer the policy has become of them (ACE).

    With c = Σ_t m·(log π − log π_ref), divided by Σ_t m if normalize_length,
    A' = A·(1 + coefficient·log(1 + exp(c))) where A < 0, otherwise A' = A.

    Args:
        advantage: advantage A of each response [*batch], after the normalization in its group.
        log_prob: log-probabilities of its tokens [*batch, token] under the policy that generated them.
        reference_log_prob: the same under a fixed reference policy.
        coefficient: strength of the penalty; 0 for none.
        normalize_length: static; whether c is the mean over tokens. The sum grows to hundreds on long texts.
        where: boolean mask m, True where a token counts.
        axis: static; the token axis.

    Returns:
        Advantages [*batch], without gradient. Those of a group no longer add up to 0.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import returns
        >>> advantage, log_prob = jnp.array([1.0, -1.0, -1.0]), jnp.full((3, 1), -0.1)
        >>> reference_log_prob = jnp.array([[-3.1], [-0.1], [-3.1]])
        >>> print(np.asarray(returns.confidence_penalty(advantage, log_prob, reference_log_prob)).round(3))
        [ 1.    -1.693 -4.049]

    Reconstruction:
        The abstract gives c and that negative advantages are modulated by it; the softplus is that of two
        public summaries. That c is a sum, that its factor is 1 + coefficient·log 2 at c = 0, and the default
        coefficient are our reading.

    References:
        Xu et al., 2026, "Overconfident Errors Need Stronger Correction: Asymmetric Confidence Penalties",
        arXiv:2602.21420.
    """
    (advantage,) = floating(advantage=advantage)
    # The advantage is passed for its shape alone: an empty response keeps it.
    log_prob, reference_log_prob, _ = elements(
        log_prob=log_prob,
        reference_log_prob=reference_log_prob,
        advantage=jnp.expand_dims(advantage, axis),
        where=where,
    )
    log_ratio = log_prob - reference_log_prob
    confidence = mean(log_ratio, where=where, axis=axis) if normalize_length else jnp.sum(log_ratio, axis)
    advantage, confidence, coefficient = lax.stop_gradient((advantage, confidence, *like(confidence, coefficient)))
    return jnp.where(advantage < 0, advantage * (1 + coefficient * jax.nn.softplus(confidence)), advantage)
