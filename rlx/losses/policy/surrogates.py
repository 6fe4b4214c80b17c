"""Policy-gradient surrogates on log-probabilities, to be minimized; one value per element."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, elements, like
from rlx.weighting.ratio import importance_log_ratio


def policy_gradient(
    log_prob: Float[Array, "*#batch"],
    advantage: Float[Array, "*#batch"],
    *,
    scale: Scalar = 1.0,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Score-function surrogate, whose gradient is the policy gradient (REINFORCE).

    L = −scale · sg(A) · log π(a|s).

    Args:
        log_prob: log π(a|s) of the taken actions [*batch]; carries the gradient.
        advantage: advantage or return A [*batch]; a constant.
        scale: factor of the loss.
        where: boolean mask, True where an element counts.

    Returns:
        Loss per element, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from rlx.losses import policy
        >>> advantage = jnp.array([2.0, -1.0])
        >>> loss = lambda log_prob: policy.policy_gradient(log_prob, advantage).sum()
        >>> jax.grad(loss)(jnp.log(jnp.array([0.5, 0.25]))).tolist()
        [-2.0, 1.0]

    References:
        Williams, 1992, "Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement
        Learning".
        Sutton et al., 2000, "Policy Gradient Methods for Reinforcement Learning with Function Approximation".
    """
    log_prob, advantage = elements(log_prob=log_prob, advantage=advantage, where=where)
    (scale,) = like(log_prob, scale)
    return -scale * lax.stop_gradient(advantage) * log_prob


def clipped_surrogate(
    log_prob: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    advantage: Float[Array, "*#batch"],
    *,
    where: Bool[Array, "*#batch"] | None = None,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    dual_clip: Scalar = jnp.inf,
    level: str = "token",
    bound: Scalar = 20.0,
) -> Float[Array, "*batch"]:
    """PPO's clipped surrogate, with asymmetric (DAPO) and dual clipping, and with token or sequence ratios (GSPO).

    With r = π(a|s) / π_b(a|s),
    L = max(−A·r, −A·clip(r, 1 − clip_low, 1 + clip_high)), and where A < 0: L = min(L, −A·dual_clip).
    Clipping is off for clip_low=1, clip_high=inf.

    Args:
        log_prob: log π(a|s) of the taken actions [*batch]; carries the gradient.
        behavior_log_prob: the same under the policy that generated the data; a constant.
        advantage: advantage A [*batch]; a constant. One per sequence is passed as advantage[..., None].
        where: boolean mask, True where an element counts.
        clip_low: how far the ratio may fall below 1 before its gradient stops.
        clip_high: how far the ratio may rise above 1; DAPO's clip-higher is 0.28.
        dual_clip: largest ratio that a negative advantage is multiplied with, above 1; 3 is common.
        level: static; the ratio is that of the "token", or as in `rlx.weighting.importance_log_ratio`, whose
            sequence levels run along the last axis.
        bound: largest absolute log-ratio.

    Returns:
        Loss per element, 0 where masked.

    Raises:
        ValueError: for an unknown `level`, a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import policy
        >>> ratio, advantage = jnp.array([0.5, 1.0, 1.5]), jnp.array([1.0, 1.0, 1.0])
        >>> print(np.asarray(policy.clipped_surrogate(jnp.log(ratio), jnp.zeros(3), advantage)).round(3))
        [-0.5 -1.  -1.2]
        >>> print(np.asarray(policy.clipped_surrogate(jnp.log(ratio), jnp.zeros(3), -advantage)).round(3))
        [0.8 1.  1.5]

    References:
        Schulman et al., 2017, "Proximal Policy Optimization Algorithms", arXiv:1707.06347.
        Ye et al., 2019, "Mastering Complex Control in MOBA Games with Deep Reinforcement Learning",
        arXiv:1912.09729 (dual clip).
        Yu et al., 2025, "DAPO: An Open-Source LLM Reinforcement Learning System at Scale", arXiv:2503.14476
        (clip-higher).
    """
    log_prob, behavior_log_prob, advantage = elements(
        log_prob=log_prob, behavior_log_prob=behavior_log_prob, advantage=advantage, where=where
    )
    advantage = lax.stop_gradient(advantage)
    clip_low, clip_high, dual_clip = like(advantage, clip_low, clip_high, dual_clip)
    ratio = jnp.exp(importance_log_ratio(log_prob, behavior_log_prob, where=where, level=level, bound=bound))
    return -advantage * _pessimistic(ratio, advantage, clip_low, clip_high, dual_clip)


def _pessimistic(ratio: Array, advantage: Array, clip_low: Array, clip_high: Array, dual_clip: Scalar) -> Array:
    """The ratio, held within the bound that counts for the sign of its advantage."""
    # A's sign decides which bound binds, so A moves out of max and min: one product, no 0 · inf at A = 0.
    return jnp.where(
        advantage < 0,
        jnp.minimum(jnp.maximum(ratio, 1 - clip_low), dual_clip),
        jnp.minimum(ratio, 1 + clip_high),
    )


def decoupled_clip(
    log_prob: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    proximal_log_prob: Float[Array, "*#batch"],
    advantage: Float[Array, "*#batch"],
    *,
    clip: Scalar = 0.2,
    max_ratio: Scalar = 100.0,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """PPO-EWMA's surrogate: the policy it stays near is not the policy that generated the data.

    With r = π / π_prox and π̃_b = max(π_b, π / max_ratio), held constant,
    L = −(π_prox / π̃_b) · min(r·A, clip(r, 1 − clip, 1 + clip)·A). For π_prox = π_b it is
    `clipped_surrogate`.

    Args:
        log_prob: log π(a|s) of the taken actions [*batch]; carries the gradient.
        behavior_log_prob: the same under the policy that generated the data; a constant.
        proximal_log_prob: the same under the anchor, such as an average of recent policies; a constant.
        advantage: advantage A [*batch]; a constant.
        clip: how far the ratio to the anchor may move from 1 before its gradient stops.
        max_ratio: largest importance weight π / π̃_b.
        where: boolean mask, True where an element counts.

    Returns:
        Loss per element, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import policy
        >>> log_prob, anchor, behavior = jnp.log(jnp.array([[0.44, 0.6], [0.4, 0.4], [0.2, 0.2]]))
        >>> print(np.asarray(policy.decoupled_clip(log_prob, behavior, anchor, jnp.ones(2))).round(3))
        [-2.2 -2.4]

    References:
        Hilton et al., 2021, "Batch Size-Invariance for Policy Optimization", arXiv:2110.00641.
    """
    log_prob, behavior_log_prob, proximal_log_prob, advantage = elements(
        log_prob=log_prob,
        behavior_log_prob=behavior_log_prob,
        proximal_log_prob=proximal_log_prob,
        advantage=advantage,
        where=where,
    )
    behavior_log_prob, proximal_log_prob, advantage = lax.stop_gradient(
        (behavior_log_prob, proximal_log_prob, advantage)
    )
    clip, max_ratio = like(log_prob, clip, max_ratio)
    floor = jnp.maximum(behavior_log_prob, lax.stop_gradient(log_prob) - jnp.log(max_ratio))
    # Log-ratios are added before exp: each ratio alone may overflow where their product does not.
    weight = jnp.exp(log_prob - floor)
    low, high = (jnp.exp(jnp.log1p(c) + proximal_log_prob - floor) for c in (-clip, clip))
    return -advantage * jnp.where(advantage < 0, jnp.maximum(weight, low), jnp.minimum(weight, high))
