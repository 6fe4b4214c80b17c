"""A clipped surrogate whose bounds are searched anew on every batch."""

from jaxtyping import Array, Bool, Float

from rlx.controllers.clip_bounds import balanced_clip
from rlx.losses.policy.surrogates import clipped_surrogate
from rlx.types import Scalar


def balanced_surrogate(
    log_prob: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    advantage: Float[Array, "*#batch"],
    *,
    target: Scalar = 1.0,
    low: tuple[Scalar, Scalar] = (0.6, 0.8),
    high: tuple[Scalar, Scalar] = (1.2, 2.0),
    low_step: Scalar = 0.05,
    high_step: Scalar = 0.05,
    dual_clip: Scalar = 3.0,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """BAPO's surrogate: clipped at bounds that let positive advantages contribute enough, with a dual clip.

    The clipped surrogate with clip_low = 1 − lower and clip_high = upper − 1, where lower and upper are those of
    `rlx.controllers.balanced_clip` on all elements of the batch.

    Args:
        log_prob: log π(a|s) of the taken actions under the policy in training [*batch]; carries the gradient.
        behavior_log_prob: the same under the policy that generated the data [*batch]; a constant.
        advantage: advantage A [*batch]; a constant.
        target: wanted ratio of positive to negative contributions.
        low: first and largest lower bound of the ratio.
        high: first and largest upper bound of the ratio.
        low_step: step of the search for the lower bound; 0 keeps the bound at low[0].
        high_step: step of the search for the upper bound; 0 keeps the bound at high[0].
        dual_clip: largest ratio that counts where the advantage is negative.
        where: boolean mask, True where an element counts.

    Returns:
        Loss per element [*batch], 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import policy
        >>> log_prob, advantage = jnp.log(jnp.array([1.5, 1.0, 0.7])), jnp.array([1.0, -1.0, -1.0])
        >>> print(np.asarray(policy.balanced_surrogate(log_prob, jnp.zeros(3), advantage, target=0.8)).round(3))
        [-1.45  1.    0.8 ]

    References:
        Xi et al., 2025, "BAPO: Stabilizing Off-Policy Reinforcement Learning for LLMs via Balanced Policy
        Optimization with Adaptive Clipping", arXiv:2510.18927.
    """
    search = dict(target=target, low=low, high=high, low_step=low_step, high_step=high_step)
    lower, upper, _ = balanced_clip(log_prob, behavior_log_prob, advantage, where=where, **search)
    return clipped_surrogate(
        log_prob,
        behavior_log_prob,
        advantage,
        clip_low=1 - lower,
        clip_high=upper - 1,
        dual_clip=dual_clip,
        where=where,
    )
