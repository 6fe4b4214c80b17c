"""Token rewards for policy optimization, taken from a policy trained on preferences."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.rewards.kl import kl_shaped
from rlx.types import Scalar, elements, like


def reinforced_token_reward(
    log_prob: Float[Array, "..."],
    reference_log_prob: Float[Array, "..."],
    preference_log_prob: Float[Array, "..."],
    reward: Float[Array, "..."],
    *,
    preference_scale: Scalar = 0.05,
    preference_clip: Scalar = 0.05,
    kl_coef: Scalar = 0.01,
    reward_clip: Scalar = 10.0,
    where: Bool[Array, "..."] | None = None,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Reward of each token: a preference-trained policy's log-ratio, a KL penalty, and the score at the end (RTO).

    r_t = clip(β₁ · (log π_dpo,t − log π_ref,t), ±preference_clip) − β₂ · (log π_t − log π_ref,t) + [t is the last
    valid token] · clip(reward, ±reward_clip), with β₁ = preference_scale and β₂ = kl_coef. β₁ = 0 is the usual
    reward of RLHF by PPO. Summed over tokens, unclipped, the first term is β₁ times the sequence's log-ratio: the
    implicit reward made dense.

    Args:
        log_prob: log-probability of each token at rollout time [*batch, token].
        reference_log_prob: the same under the supervised model, from which both others started.
        preference_log_prob: the same under a policy trained by direct preference optimization.
        reward: score of each sequence by a reward model [*batch].
        preference_scale: factor β₁ of the preference-trained policy's log-ratio.
        preference_clip: largest absolute value of the first term; `jnp.inf` for no clipping.
        kl_coef: coefficient β₂ of the KL penalty.
        reward_clip: largest absolute value of the score.
        where: boolean mask, True where a token counts; a sequence without any gets no score.
        axis: static; the token axis.

    Returns:
        Rewards [*batch, token], without gradient, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import rewards
        >>> log_prob = reference_log_prob = jnp.array([[-1.0, -1.0]])
        >>> preference_log_prob, reward = jnp.array([[-0.5, -3.0]]), jnp.array([1.0])
        >>> shaped = rewards.reinforced_token_reward(log_prob, reference_log_prob, preference_log_prob, reward)
        >>> print(np.asarray(shaped).round(3))
        [[0.025 0.95 ]]

    References:
        Zhong et al., 2024, "DPO Meets PPO: Reinforced Token Optimization for RLHF", arXiv:2404.18922.
    """
    log_prob, reference_log_prob, preference_log_prob, reward = lax.stop_gradient(
        elements(
            log_prob=log_prob,
            reference_log_prob=reference_log_prob,
            preference_log_prob=preference_log_prob,
            reward=jnp.expand_dims(reward, axis),
            where=where,
        )
    )
    scale, clip, reward_clip = like(log_prob, preference_scale, preference_clip, reward_clip)
    preference = jnp.clip(scale * (preference_log_prob - reference_log_prob), -clip, clip)
    last = _last(jnp.broadcast_to(True if where is None else where, preference.shape), axis)
    shaped = preference + jnp.where(last, jnp.clip(reward, -reward_clip, reward_clip), 0)
    return kl_shaped(shaped, log_prob, reference_log_prob, coefficient=kl_coef, where=where)


def _last(mask: Array, axis: int) -> Array:
    """True at the last True along `axis`."""
    return mask & (jnp.cumsum(mask, axis) == jnp.sum(mask, axis, keepdims=True))
