"""Surrogates that spare the policy's entropy, by acting on the few tokens that lower it most."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from rlx.diagnostics.covariance import advantage_covariance
from rlx.losses.policy.surrogates import _pessimistic, clipped_surrogate
from rlx.types import Scalar, elements, like
from rlx.weighting.ratio import importance_log_ratio
from rlx.weighting.selection import extreme_mask, random_mask


def clip_cov(
    key: PRNGKeyArray,
    log_prob: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    advantage: Float[Array, "*#batch"],
    *,
    fraction: Scalar = 2e-4,
    lower: Scalar = 1.0,
    upper: Scalar = 5.0,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Clip-Cov: clipped surrogate that drops a random few of the tokens of high covariance of log π and advantage.

    L = 0 for n = max(1, ⌊fraction · valid tokens⌋) tokens, drawn uniformly from those with
    lower < cov < upper that are not clipped already, or for all of them where they are fewer; elsewhere
    L = `rlx.losses.policy.clipped_surrogate`. cov is `rlx.diagnostics.advantage_covariance`. The band is made
    for language models: on small problems cov hardly reaches 1, and is better set by quantiles. Drawing reads
    the tokens some fifty times, to bisect for the last one drawn.

    Args:
        key: a `jax.random.key`.
        log_prob: log π(a|s) of the taken tokens [*batch]; carries the gradient.
        behavior_log_prob: the same under the policy that generated the data; a constant.
        advantage: advantage A [*batch], comparable over the batch; a constant. One per sequence is passed as
            advantage[..., None].
        fraction: share of the valid tokens to drop, in [0, 1].
        lower: least covariance of a token that may be dropped.
        upper: largest covariance of a token that may be dropped.
        clip_low: how far the ratio may fall below 1; the paper's runs have 1, no clipping from below.
        clip_high: how far the ratio may rise above 1; the paper's runs have 1.
        where: boolean mask, True where a token counts.

    Returns:
        Loss per token, 0 where masked. A dropped token still counts in a mean over tokens.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from rlx.losses import policy
        >>> log_prob, advantage = jnp.array([-0.1, -0.2, -3.0, -4.0]), jnp.array([2.0, -2.0, 0.5, -1.0])
        >>> loss = policy.clip_cov(jax.random.key(0), log_prob, log_prob, advantage, fraction=1.0)
        >>> (loss == 0).tolist()
        [True, False, False, True]

    References:
        Cui et al., 2025, "The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models",
        arXiv:2505.22617.
    """
    log_prob, behavior_log_prob, advantage = elements(
        log_prob=log_prob, behavior_log_prob=behavior_log_prob, advantage=advantage, where=where
    )
    advantage = lax.stop_gradient(advantage)
    lower, upper, clip_low, clip_high = like(advantage, lower, upper, clip_low, clip_high)
    # Masked elements are 0 from here on, so that only means over the batch need the mask.
    covariance = advantage_covariance(log_prob, advantage, where=where)
    ratio = jnp.exp(importance_log_ratio(log_prob, behavior_log_prob))
    loss = -advantage * _pessimistic(ratio, advantage, clip_low, clip_high, jnp.inf)

    clipped = jnp.where(advantage < 0, ratio < 1 - clip_low, (ratio > 1 + clip_high) & (advantage > 0))
    valid = jnp.broadcast_to(True if where is None else where, loss.shape)
    candidates = valid & (covariance > lower) & (covariance < upper) & ~clipped
    # Float32 even for bfloat16 losses, in which the count itself would be rounded.
    count = jnp.floor(jnp.asarray(fraction, jnp.float32) * jnp.sum(valid, dtype=jnp.int32))
    dropped = random_mask(key, count=jnp.maximum(count, 1), where=candidates)
    return jnp.where(dropped, 0, loss)


def kl_cov(
    log_prob: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    advantage: Float[Array, "*#batch"],
    *,
    fraction: Scalar = 2e-3,
    coefficient: Scalar = 1.0,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """KL-Cov: unclipped surrogate with a KL penalty on the tokens of highest covariance of log π and advantage.

    With ℓ = log π − log π_b, L = −A · exp(ℓ) + coefficient · |ℓ| for the max(1, ⌊fraction · valid tokens⌋)
    tokens of largest `rlx.diagnostics.advantage_covariance`, and L = −A · exp(ℓ) for the others, with ℓ in
    exp bounded to ±20. |ℓ| has no gradient at ℓ = 0, so the penalty acts from the second update on the same
    data on. Finding the tokens reads all of them some fifty times, to bisect for the last one.

    Args:
        log_prob: log π(a|s) of the taken tokens [*batch]; carries the gradient.
        behavior_log_prob: the same under the policy that generated the data; a constant.
        advantage: advantage A [*batch], comparable over the batch; a constant. One per sequence is passed as
            advantage[..., None].
        fraction: share of the valid tokens to penalize, in [0, 1]; 2e-4 for models of 32 billion parameters.
        coefficient: weight of the penalty.
        where: boolean mask, True where a token counts.

    Returns:
        Loss per token, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import policy
        >>> log_prob, advantage = jnp.array([-0.1, -0.2, -3.0, -4.0]), jnp.array([2.0, -2.0, 0.5, -1.0])
        >>> loss = lambda coefficient: policy.kl_cov(
        ...     log_prob, log_prob - 0.5, advantage, fraction=0.25, coefficient=coefficient
        ... )
        >>> print(np.asarray(loss(1.0) - loss(0.0)).round(3))
        [0.5 0.  0.  0. ]

    References:
        Cui et al., 2025, "The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models",
        arXiv:2505.22617.
    """
    loss = clipped_surrogate(log_prob, behavior_log_prob, advantage, where=where, clip_low=1.0, clip_high=jnp.inf)
    covariance = advantage_covariance(log_prob, advantage, where=where)
    selected = extreme_mask(covariance, fraction=fraction, where=where)
    log_ratio = importance_log_ratio(log_prob, behavior_log_prob, where=where, bound=jnp.inf)
    (coefficient,) = like(loss, coefficient)
    # Not jnp.abs, whose gradient at 0, where an update begins, is that of one side.
    return loss + jnp.where(selected, coefficient * log_ratio * jnp.sign(log_ratio), 0)
