"""Entropies estimated from the log-probabilities of sampled actions."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, elements
from rlx.weighting.ratio import importance_log_ratio


def sampled_negentropy(
    log_prob: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    *,
    where: Bool[Array, "*#batch"] | None = None,
    bound: Scalar = 20.0,
) -> Float[Array, "*batch"]:
    """Negative entropy from samples of the behavior policy, unbiased in value and in gradient (DSDR).

    L = ρ · log π with ρ = π / π_b = exp(clip(log π − log π_b, ±bound)). The gradient goes through both factors,
    ρ · (1 + log π), so that its mean over samples of π_b is that of −H(π). ρ · log π has no lower limit as π_b
    falls: a smaller bound, beyond which ρ is constant, limits it.

    Args:
        log_prob: log π(a|s) of the sampled actions [*batch]; carries the gradient.
        behavior_log_prob: the same under the policy that sampled them; a constant.
        where: boolean mask, True where an element counts.
        bound: largest absolute log-ratio.

    Returns:
        Estimate per element in nats, to be minimized, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.regularizers import entropy
        >>> log_prob, behavior_log_prob = jnp.log(jnp.array([[0.5, 0.5], [0.5, 0.25]]))
        >>> print(np.asarray(entropy.sampled_negentropy(log_prob, behavior_log_prob)).round(3))
        [-0.693 -1.386]

    References:
        Wan et al., 2026, "DSDR: Dual-Scale Diversity Regularization for Exploration in LLM Reasoning",
        arXiv:2602.19895.
    """
    ratio = jnp.exp(importance_log_ratio(log_prob, behavior_log_prob, where=where, bound=bound))
    (log_prob,) = elements(log_prob=log_prob, where=where)
    return ratio * log_prob
