"""Weights of the rollouts of a group by how much they differ from the others; without gradient."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, check_broadcast, elements, like


def diversity_softmax(
    diversity: Float[Array, "*batch"],
    success: Bool[Array, "*batch"],
    *,
    temperature: Scalar = 5.0,
    axis: int = -1,
) -> Float[Array, "*batch"]:
    """Weights over the successes of a group, larger for those that differ more from the rest (DSDR).

    w = exp(temperature · d) / Σ_{successes} exp(temperature · d) for a success, else w = 0.

    Args:
        diversity: diversity d of each rollout, in [0, 1], such as the mean of `rlx.rewards.embedding_novelty`
            and `rlx.rewards.unique_feature_rate` [*batch, group].
        success: which rollouts succeeded [*batch, group].
        temperature: factor of the diversity: 0 gives every success the same weight.
        axis: static; the group axis.

    Returns:
        Weights of the same shape, without gradient; they sum to 1 in a group, or are 0 in one without success.

    Raises:
        ValueError: for a non-floating `diversity`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import weighting
        >>> diversity, success = jnp.array([0.2, 0.6, 0.9]), jnp.array([True, True, False])
        >>> print(np.asarray(weighting.diversity_softmax(diversity, success)).round(3))
        [0.119 0.881 0.   ]

    References:
        Wan et al., 2026, "DSDR: Dual-Scale Diversity Regularization for Exploration in LLM Reasoning",
        arXiv:2602.19895.
    """
    check_broadcast(diversity=diversity, success=success)
    (diversity,) = lax.stop_gradient(elements(diversity=diversity, where=success))
    (temperature,) = like(diversity, temperature)
    score = jnp.where(success, temperature * diversity, -jnp.inf)
    highest = jnp.max(score, axis, keepdims=True)
    weight = jnp.where(success, jnp.exp(score - highest), 0)
    # The largest weight is 1 before normalizing, so the sum is below 1 only in a group without success.
    return weight / jnp.maximum(jnp.sum(weight, axis, keepdims=True), 1)
