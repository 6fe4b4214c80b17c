"""Offline policy gradient on the part of a dataset that beats the reference policy."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, check_choice, elements, like
from rlx.weighting.ratio import importance_log_ratio

LEVELS = {"trajectory": "sequence", "token": "token"}
"""Over what the importance ratio runs, by variant; the others have none."""


def advantage_leftover(
    log_prob: Float[Array, "..."],
    reference_log_prob: Float[Array, "..."],
    advantage: Float[Array, "..."],
    *,
    variant: str = "trajectory",
    clip: Scalar = 0.9,
    kl_coefficient: Scalar = 0.0,
    where: Bool[Array, "..."] | None = None,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Advantage-leftover lunch (A-LoL): importance-weighted cloning of dataset responses that beat the reference.

    L = −A⁺ Σ_t w_t·log π_t with A⁺ = max(A, 0) and the constants w_t = clip(Π_s r_s, 1 − clip, 1 + clip), r =
    π/π_ref ("trajectory", A-LoL), clip(r_t, 1 − clip, 1 + clip) ("token", A-LoL seq.), or 1 ("reference_free"
    and "kl"); "kl" adds kl_coefficient·Σ_t (log π_t − log π_ref,t). Unlike PPO's surrogate it takes no
    minimum with the unclipped term and has no gradient through the ratio. The sum is over tokens, so that
    long responses weigh more. R-LoL passes the reward for A.

    Args:
        log_prob: log π of the tokens of dataset responses [*batch, token]; carries the gradient.
        reference_log_prob: the same under the cloned reference policy; a constant.
        advantage: A = R(x, y) − V_ref(x), one per response [*batch]; a constant.
        variant: static; "trajectory", "token", "reference_free" or "kl".
        clip: how far the ratio may move from 1; `jnp.inf` for any ratio of a log-ratio within ±20.
        kl_coefficient: strength of the penalty of variant "kl", an estimate on dataset responses and not of
            KL(π ‖ π_ref).
        where: boolean mask, True where a token counts.
        axis: static; the token axis.

    Returns:
        Loss per response [*batch]; exactly 0 where A ≤ 0, except for the penalty of "kl".

    Raises:
        ValueError: for an unknown `variant`, a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import policy
        >>> log_prob = jnp.array([[-1.0, -2.0], [-1.0, -2.0]])
        >>> print(np.asarray(policy.advantage_leftover(log_prob, log_prob - 0.1, jnp.array([1.0, -1.0]))).round(3))
        [3.664 0.   ]

    References:
        Baheti et al., 2023, "Leftover Lunch: Advantage-based Offline Reinforcement Learning for Language Models",
        arXiv:2305.14718.
    """
    check_choice("variant", variant, ("trajectory", "token", "reference_free", "kl"))
    per_response = jnp.expand_dims(jnp.asarray(advantage), axis)
    log_prob, reference_log_prob, per_response = elements(
        log_prob=log_prob, reference_log_prob=reference_log_prob, advantage=per_response, where=where
    )
    reference_log_prob, per_response = lax.stop_gradient((reference_log_prob, per_response))
    clip, kl_coefficient = like(log_prob, clip, kl_coefficient)
    leftover = jnp.maximum(per_response, 0)
    if variant in LEVELS:
        log_ratio = importance_log_ratio(log_prob, reference_log_prob, where=where, level=LEVELS[variant], axis=axis)
        leftover *= lax.stop_gradient(jnp.clip(jnp.exp(log_ratio), 1 - clip, 1 + clip))
    loss = -leftover * log_prob
    if variant == "kl":
        loss += kl_coefficient * (log_prob - reference_log_prob)
    return jnp.sum(loss, axis)
