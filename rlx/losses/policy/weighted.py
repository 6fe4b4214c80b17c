"""Surrogates that weigh a log-probability's gradient by a ratio, without clipping; one value per element."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, elements, like
from rlx.weighting.ratio import importance_log_ratio


def importance_weighted(
    log_prob: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    advantage: Float[Array, "*#batch"],
    *,
    max_ratio: Scalar = jnp.inf,
    bound: Scalar = 20.0,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Off-policy policy gradient with truncated importance weights (IMPALA, CISPO): no token loses its gradient.

    L = −sg(min(r, max_ratio) · A) · log π(a|s), with r = π(a|s) / π_b(a|s).

    Args:
        log_prob: log π(a|s) of the taken actions [*batch]; carries the gradient.
        behavior_log_prob: the same under the policy that generated the data; a constant.
        advantage: advantage A [*batch]; a constant.
        max_ratio: largest importance weight; CISPO's is 1 + its upper clip range.
        bound: largest absolute log-ratio.
        where: boolean mask, True where an element counts.

    Returns:
        Loss per element, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import policy
        >>> log_ratio = jnp.log(jnp.array([0.5, 1.0, 3.0]))
        >>> loss = lambda log_prob: policy.importance_weighted(log_prob, jnp.zeros(3), jnp.ones(3), max_ratio=1.2).sum()
        >>> print(np.asarray(jax.grad(loss)(log_ratio)).round(3))
        [-0.5 -1.  -1.2]

    References:
        Espeholt et al., 2018, "IMPALA: Scalable Distributed Deep-RL with Importance Weighted Actor-Learner
        Architectures", arXiv:1802.01561 (truncated weights).
        MiniMax, 2025, "MiniMax-M1: Scaling Test-Time Compute Efficiently with Lightning Attention",
        arXiv:2506.13585 (CISPO).
    """
    log_prob, behavior_log_prob, advantage = elements(
        log_prob=log_prob, behavior_log_prob=behavior_log_prob, advantage=advantage, where=where
    )
    (max_ratio,) = like(log_prob, max_ratio)
    ratio = jnp.minimum(jnp.exp(importance_log_ratio(log_prob, behavior_log_prob, bound=bound)), max_ratio)
    return -lax.stop_gradient(ratio * advantage) * log_prob


def unified_gradient(
    log_prob: Float[Array, "*#batch"],
    denominator_log_prob: Float[Array, "*#batch"],
    advantage: Float[Array, "*#batch"],
    *,
    bound: Scalar = jnp.inf,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """HPT's surrogate of the unified policy-gradient estimator, whose denominator and advantage name the method.

    L = −A · π(a|s) / π_den, with the gradient −(1/π_den) · A · ∇π. π_den = sg(π) gives −A·∇log π: supervised
    fine-tuning for A = 1, REINFORCE for A the return. π_den = π_b is PPO without clipping, with clipping where
    `where` leaves the clipped tokens out. π_den = 1 is offline learning without behavior probabilities.

    Args:
        log_prob: log π(a|s) of the taken actions [*batch]; carries the gradient.
        denominator_log_prob: log π_den [*batch]; a constant.
        advantage: advantage A [*batch]; a constant.
        bound: largest absolute value of log π − log π_den, beyond which the gradient is 0; inf for none.
        where: boolean mask, True where an element counts: the estimator's stabilization mask.

    Returns:
        Loss per element, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import policy
        >>> log_prob, advantage = jnp.log(jnp.array([0.5, 0.2])), jnp.array([1.0, -2.0])
        >>> gradient = jax.grad(lambda x, denominator: policy.unified_gradient(x, denominator, advantage).sum())
        >>> print(np.asarray(gradient(log_prob, log_prob)).round(3))
        [-1.  2.]
        >>> print(np.asarray(gradient(log_prob, jnp.zeros(2))).round(3))
        [-0.5  0.4]

    References:
        Lv et al., 2025, "Towards a Unified View of Large Language Model Post-Training", arXiv:2509.04419 (HPT).
    """
    log_prob, denominator_log_prob, advantage = elements(
        log_prob=log_prob, denominator_log_prob=denominator_log_prob, advantage=advantage, where=where
    )
    return -lax.stop_gradient(advantage) * jnp.exp(importance_log_ratio(log_prob, denominator_log_prob, bound=bound))
