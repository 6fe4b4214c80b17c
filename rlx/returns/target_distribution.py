"""Advantages that pull the policy towards a distribution of another entropy. Results are constants."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean
from rlx.types import Scalar, elements, like
from rlx.weighting.ratio import importance_log_ratio


def target_distribution_advantage(
    advantage: Float[Array, "*batch"],
    success: Bool[Array, "*batch"],
    behavior_log_prob: Float[Array, "*batch token"],
    target_log_prob: Float[Array, "*batch token"],
    entropy: Scalar,
    *,
    target_entropy: Scalar = 0.5,
    max_coefficient: Scalar = 0.1,
    where: Bool[Array, "..."] | None = None,
) -> Float[Array, "*batch token"]:
    """Advantage mixed with that of imitating the successes of a tempered policy, without sampling from it (DCPO).

    A'_t = (1 − α) · A + α · [success] · ρ_t, with ρ_t = exp(target_log_prob_t − behavior_log_prob_t), its
    exponent bounded to ±20, and α = c / (c + p̂), c = min(|target_entropy − entropy|, max_coefficient), p̂ the
    share of successes among the responses; α = 0 without a success. α is only the strength of the pull: its
    direction is that of the temperature of the target, above 1 (1.2 in the paper) where the entropy is at most
    the target entropy, and below 1 (0.8) where it is above. The surrogate multiplies A' with its own ratio.

    Args:
        advantage: advantage A of each response [*batch].
        success: which responses succeeded [*batch].
        behavior_log_prob: log-probability of the tokens under the policy that generated them [*batch, token].
        target_log_prob: the same under softmax(logits / temperature) of that policy [*batch, token].
        entropy: the policy's entropy in nats, such as −mean log π at the last update.
        target_entropy: the entropy to be kept.
        max_coefficient: largest c.
        where: boolean mask, True where a token counts.

    Returns:
        Advantages per token [*batch, token], without gradient, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import returns
        >>> advantage, success = jnp.array([1.0, -1.0]), jnp.array([True, False])
        >>> log_prob, target_log_prob = jnp.log(jnp.array([[[0.5], [0.5]], [[0.4], [0.4]]]))
        >>> advantage = returns.target_distribution_advantage(advantage, success, log_prob, target_log_prob, 0.2)
        >>> print(np.asarray(advantage).round(3))
        [[ 0.967]
         [-0.833]]

    References:
        Li et al., 2026, "Distribution-Centric Policy Optimization Dominates Exploration-Exploitation Trade-off",
        arXiv:2601.12730.
    """
    advantage, success = jnp.asarray(advantage)[..., None], jnp.asarray(success)[..., None]
    advantage, behavior_log_prob, target_log_prob = lax.stop_gradient(
        elements(
            advantage=advantage,
            behavior_log_prob=behavior_log_prob,
            target_log_prob=target_log_prob,
            where=where,
        )
    )
    entropy, target_entropy, max_coefficient = lax.stop_gradient(
        like(advantage, entropy, target_entropy, max_coefficient)
    )
    mask = jnp.broadcast_to(True if where is None else where, behavior_log_prob.shape)
    rate = mean(success.astype(advantage.dtype), where=jnp.any(mask, -1, keepdims=True))
    pull = jnp.minimum(jnp.abs(target_entropy - entropy), max_coefficient)
    share = jnp.where(rate > 0, pull / (pull + jnp.where(rate > 0, rate, 1)), 0)
    ratio = jnp.exp(importance_log_ratio(target_log_prob, behavior_log_prob, where=where))
    return jnp.where(mask, (1 - share) * advantage + share * jnp.where(success, ratio, 0), 0)
