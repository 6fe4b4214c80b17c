"""Surrogate of sequences that are partly the policy's own and partly another's; one value per token."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.losses.policy.surrogates import clipped_surrogate
from rlx.types import Scalar, check_broadcast, check_mask, elements, like


def mixed_policy(
    log_prob: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    advantage: Float[Array, "*#batch"],
    off_policy: Bool[Array, "*#batch"],
    *,
    shaping: Scalar = 0.1,
    clip_low: Scalar = 1.0,
    clip_high: Scalar = jnp.inf,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """LUFFY's surrogate: a ratio on the policy's own tokens, a shaped probability on the tokens of another author.

    On-policy tokens have the loss of `clipped_surrogate`, unclipped by default. Off-policy tokens have
    L = −A · f(π(a|s)) with f(p) = p / (p + shaping), whose slope shaping / (p + shaping)² raises rare tokens most.
    Which tokens are off-policy is the method: a whole demonstration (LUFFY), a critiqued and refined response
    (Critique-GRPO), or the part after the first error (SCOPE).

    Args:
        log_prob: log π(a|s) of all tokens under the current policy [*batch]; carries the gradient.
        behavior_log_prob: the same under the policy that generated the on-policy tokens, ignored elsewhere; a
            constant.
        advantage: advantage A [*batch], of a group that has the mixed sequence as a member; a constant.
        off_policy: boolean, True on tokens that the policy did not generate [*batch].
        shaping: probability at which f is 1/2; towards 0 off-policy tokens lose their gradient.
        clip_low: how far the ratio of on-policy tokens may fall below 1 before its gradient stops.
        clip_high: how far it may rise above 1.
        where: boolean mask, True where a token counts.

    Returns:
        Loss per element, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import policy
        >>> log_prob, behavior_log_prob = jnp.log(jnp.array([0.4, 0.4, 0.1])), jnp.log(jnp.array([0.5, 1.0, 1.0]))
        >>> off_policy = jnp.array([False, True, True])
        >>> print(np.asarray(policy.mixed_policy(log_prob, behavior_log_prob, jnp.ones(3), off_policy)).round(3))
        [-0.8 -0.8 -0.5]

    References:
        Zhang et al., 2025, "Critique-GRPO: Advancing LLM Reasoning with Natural Language and Numerical
        Feedback", arXiv:2506.03106.
        Yan et al., 2025, "Learning to Reason under Off-Policy Guidance", arXiv:2504.14945 (LUFFY).
        Ren et al., 2026, "Recycling Failures: Salvaging Exploration in RLVR via Fine-Grained Off-Policy
        Guidance", arXiv:2602.24110 (SCOPE).
    """
    check_mask(where)
    check_broadcast(
        log_prob=log_prob,
        behavior_log_prob=behavior_log_prob,
        advantage=advantage,
        off_policy=off_policy,
        where=where,
    )
    valid = True if where is None else where
    own = clipped_surrogate(
        log_prob,
        behavior_log_prob,
        advantage,
        where=valid & ~off_policy,
        clip_low=clip_low,
        clip_high=clip_high,
    )
    log_prob, advantage = elements(log_prob=log_prob, advantage=advantage, where=valid & off_policy)
    (shaping,) = like(log_prob, shaping)
    # p / (p + γ) = σ(log p − log γ) neither overflows nor divides by 0.
    return own - lax.stop_gradient(advantage) * jax.nn.sigmoid(log_prob - jnp.log(shaping))
