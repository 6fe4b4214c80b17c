"""Surrogates that protect rare tokens."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.losses.policy.surrogates import clipped_surrogate
from rlx.regularizers.divergence.estimators import kl_estimate
from rlx.types import Scalar, elements, like
from rlx.weighting.selection import extreme_mask

SATURATION = 10.0
"""Largest penalty of one token, as in the official code."""


def low_probability_surrogate(
    log_prob: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    advantage: Float[Array, "*#batch"],
    proxy_log_prob: Float[Array, "*#batch"],
    *,
    fraction: Scalar = 0.01,
    coefficient: Scalar = 1.0,
    clip_low: Scalar = 1.0,
    clip_high: Scalar = 9.0,
    minimum: Scalar = 0,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Clipped surrogate that pulls punished rare tokens up to a filtered policy (Lp-Reg).

    S holds the tokens with A < 0 that are among the k least likely of these and less likely than under the
    proxy, where k = ⌊fraction·n₋⌋ of the n₋ valid tokens with A < 0 in the whole batch, and none for k ≤ 1, and
    the `minimum` least likely tokens with A < 0 that are less likely than under the proxy, as far as there are any.
    L = −A·r + coefficient·min(exp(d) − d − 1, 10) on S, with d = log π_proxy − log π and no clipping;
    elsewhere L is the `clipped_surrogate`. S is constant. As k counts over the batch, micro-batches change it.
    Finding the k reads all tokens some fifty times, to bisect for the last one, and finding the others as often.

    Args:
        log_prob: log π(a|s) of the taken tokens [*batch]; carries the gradient.
        behavior_log_prob: the same under the policy that generated the data; a constant.
        advantage: advantage A [*batch]; a constant.
        proxy_log_prob: the same tokens under the proxy, `rlx.policies.filtered_log_prob` of the behavior
            logits; a constant.
        fraction: share of the punished tokens that is protected.
        coefficient: weight of the pull towards the proxy.
        clip_low: how far the ratio may fall below 1 outside S.
        clip_high: how far the ratio may rise above 1 outside S.
        minimum: tokens that are protected however few are punished; the official code has none, so that it protects
            nothing where k ≤ 1.
        where: boolean mask, True where an element counts.

    Returns:
        Loss per element, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import policy
        >>> log_prob, proxy_log_prob = jnp.array([-8.0, -7.0, -1.0, -0.5]), jnp.array([-6.0, -6.0, -0.9, -0.4])
        >>> loss = policy.low_probability_surrogate(log_prob, log_prob, -jnp.ones(4), proxy_log_prob, fraction=0.5)
        >>> print(np.asarray(loss).round(3))
        [5.389 1.718 1.    1.   ]

    References:
        Huang et al., 2025, "Low-probability Tokens Sustain Exploration in Reinforcement Learning with
        Verifiable Reward", arXiv:2510.03222 (as in the official code, CarlanLark/Lp-Reg-dev).
    """
    log_prob, behavior_log_prob, advantage, proxy_log_prob = elements(
        log_prob=log_prob,
        behavior_log_prob=behavior_log_prob,
        advantage=advantage,
        proxy_log_prob=proxy_log_prob,
        where=where,
    )
    constant, proxy_log_prob = lax.stop_gradient((log_prob, proxy_log_prob))
    (coefficient,) = like(log_prob, coefficient)
    punished = advantage < 0
    favored = punished & (constant < proxy_log_prob)
    rare = extreme_mask(constant, fraction=fraction, where=punished, largest=False, minimum=0)
    protected = rare & (jnp.sum(rare) > 1) & favored
    protected |= extreme_mask(constant, fraction=0.0, where=favored, largest=False, minimum=minimum)
    # Far beyond its saturation the penalty is constant, and its exponential must not overflow.
    near = jnp.minimum(proxy_log_prob, constant + 2 * SATURATION)
    pull = kl_estimate(log_prob, near, kind="k3", bound=SATURATION, where=protected)
    surrogate = lambda low, high: clipped_surrogate(
        log_prob, behavior_log_prob, advantage, clip_low=low, clip_high=high, where=where
    )
    return jnp.where(protected, surrogate(1.0, jnp.inf) + coefficient * pull, surrogate(clip_low, clip_high))
