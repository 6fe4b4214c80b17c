"""Surrogate that holds the policy near its data by the variance of the ratio; one value per element."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, check_broadcast, elements, like
from rlx.weighting.ratio import importance_log_ratio


def ratio_variance(
    log_prob: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    advantage: Float[Array, "*#batch"],
    *,
    coefficient: Scalar,
    bound: Scalar = 20.0,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """R²VPO (R2VPO): ratio surrogate with a penalty on the variance of the ratio, in place of clipping.

    L = −r·A + coefficient · (r − 1)², with r = π(a|s) / π_b(a|s), whose mean under π_b is 1. Its gradient is that
    of a smooth effective advantage, −r·(A − 2·coefficient·(r − 1))·∇log π, which no boundary sets to 0. The
    coefficient is the multiplier of the constraint E[(r − 1)²] ≤ δ:
    `rlx.controllers.lagrange_multiplier` moves it by the masked mean of (r − 1)² − δ.

    Args:
        log_prob: log π(a|s) of the taken actions [*batch]; carries the gradient.
        behavior_log_prob: the same under the policy that generated the data, replayed data included; a constant.
        advantage: advantage A [*batch]; a constant.
        coefficient: weight of the penalty, a number or an array [*batch]; a constant.
        bound: largest absolute log-ratio, beyond which the gradient is 0: r² grows fast.
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
        >>> ratio, advantage = jnp.array([0.5, 1.0, 2.0, 3.0]), jnp.ones(4)
        >>> loss = lambda x: policy.ratio_variance(x, jnp.zeros(4), advantage, coefficient=0.4).sum()
        >>> print(np.asarray(jax.grad(loss)(jnp.log(ratio))).round(3))
        [-0.7 -1.  -0.4  1.8]

    References:
        Luo et al., 2026, "Ratio-Variance Regularized Policy Optimization for Efficient LLM Fine-tuning",
        arXiv:2601.03320 (R²VPO).

    Reconstruction:
        The penalized form is confirmed by the abstract and by an independent implementation, whose coefficient is
        fixed at 0.04. Not published where we could read: δ, the step and first value of the multiplier, and
        whether the variance is about the sample mean of r instead of about 1.
    """
    log_prob, behavior_log_prob, advantage = elements(
        log_prob=log_prob, behavior_log_prob=behavior_log_prob, advantage=advantage, where=where
    )
    check_broadcast(log_prob=log_prob, coefficient=coefficient, where=where)
    (coefficient,) = lax.stop_gradient(like(log_prob, coefficient))
    coefficient = coefficient if where is None else jnp.where(where, coefficient, 0)
    # expm1 keeps the digits of r − 1 near the data, where the penalty does its work.
    excess = jnp.expm1(importance_log_ratio(log_prob, behavior_log_prob, bound=bound))
    return coefficient * jnp.square(excess) - lax.stop_gradient(advantage) * (1 + excess)
