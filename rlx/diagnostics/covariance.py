"""Covariances that tell how a policy update will change the entropy. Results carry no gradient."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean
from rlx.types import elements


def advantage_covariance(
    log_prob: Float[Array, "*#batch"],
    advantage: Float[Array, "*#batch"],
    *,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Share of each token in the covariance of log-probability and advantage that Clip-Cov and KL-Cov act on.

    cov_t = (log π_t − mean log π) · (A_t − mean A), with means over all valid tokens of the batch. One
    policy-gradient step of size η on a tabular softmax changes the entropy by ≈ −η · Cov(log π, π · A), a
    natural one by ≈ −η · Cov(log π, A): likely tokens of high advantage lower it.

    Args:
        log_prob: log π(a|s) of the taken tokens [*batch].
        advantage: advantage A [*batch], comparable over the batch. One per sequence is passed as
            advantage[..., None].
        where: boolean mask, True where a token counts.

    Returns:
        Covariance per token, whose mean is that of the batch; without gradient, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import advantage_covariance
        >>> advantage_covariance(jnp.array([-0.5, -2.5, -1.5]), jnp.array([1.0, -2.0, 1.0])).tolist()
        [1.0, 2.0, 0.0]

    References:
        Cui et al., 2025, "The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models",
        arXiv:2505.22617.
    """
    log_prob, advantage = lax.stop_gradient(elements(log_prob=log_prob, advantage=advantage, where=where))
    product = (log_prob - mean(log_prob, where=where)) * (advantage - mean(advantage, where=where))
    return product if where is None else jnp.where(where, product, 0)
