"""Rewards with the price of leaving the reference policy."""

from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.regularizers.divergence.estimators import kl_estimate
from rlx.types import Scalar, elements, like


def kl_shaped(
    reward: Float[Array, "*#batch"],
    log_prob: Float[Array, "*#batch"],
    reference_log_prob: Float[Array, "*#batch"],
    *,
    coefficient: Scalar,
    kind: str = "k1",
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Reward of each token less its share of the Kullback-Leibler divergence from the reference policy (RLHF).

    r = R − coefficient·kl, with kl the `rlx.regularizers.divergence.kl_estimate` of the token: log π − log π_ref
    for "k1". With the vocabulary's logits at hand the exact divergence takes its place: R − coefficient·
    kl_categorical(logits, reference_logits).

    Args:
        reward: reward R of each token [*batch]; a constant.
        log_prob: log π of the sampled tokens under the policy that sampled them; a constant.
        reference_log_prob: the same under the reference policy; a constant.
        coefficient: price of one nat, such as the output of `rlx.controllers.proportional_kl`.
        kind: static; "k1", "k2", "k3" or "abs".
        where: boolean mask, True where a token counts.

    Returns:
        Rewards, without gradient, 0 where masked.

    Raises:
        ValueError: for an unknown `kind`, a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import rewards
        >>> reward = jnp.array([0.0, 0.0, 1.0])
        >>> log_prob, reference_log_prob = jnp.array([[-1.0, -2.0, -0.5], [-1.5, -1.5, -1.5]])
        >>> print(np.asarray(rewards.kl_shaped(reward, log_prob, reference_log_prob, coefficient=0.1)).round(3))
        [-0.05  0.05  0.9 ]

    References:
        Ziegler et al., 2019, "Fine-Tuning Language Models from Human Preferences", arXiv:1909.08593.
        Wang et al., 2025, "Text2Grad: Reinforcement Learning from Natural Language Feedback", arXiv:2505.22338
        (at every token, next to span rewards).
    """
    reward, log_prob, reference_log_prob = lax.stop_gradient(
        elements(reward=reward, log_prob=log_prob, reference_log_prob=reference_log_prob, where=where)
    )
    (coefficient,) = like(reward, coefficient)
    return reward - coefficient * kl_estimate(log_prob, reference_log_prob, kind=kind)
