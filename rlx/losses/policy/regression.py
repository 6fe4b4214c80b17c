"""Policy updates as regression: the log-ratio is fitted to the advantage."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean
from rlx.types import Scalar, elements, like


def advantage_regression(
    log_prob: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    advantage: Float[Array, "*#batch"],
    *,
    temperature: Scalar = 1.0,
    standardize: bool = False,
    where: Bool[Array, "*#batch"] | None = None,
    axis: int = -1,
    eps: Scalar = 1e-8,
    ddof: Scalar = 1,
) -> Float[Array, "*batch"]:
    """Squared distance of the log-ratio (DAPO per step), or of its z-score in the group (Reg-GRPO), to the advantage.

    With ρ = log π − log π_b of a whole step or response: L = ½ (A/temperature − ρ)², step-level DAPO; for
    actions drawn from π its gradient is that of −E[A]/temperature + KL(π ‖ π_b). With `standardize`,
    L = ½ (A/temperature − (ρ − μ)/√(σ² + eps²))², Reg-GRPO's loss times ½, with the gradient running through
    the group's mean μ and variance σ². It then depends on neither the scale of ρ nor a constant in it: over a
    group of z-scored rewards R, Σ L = (G − ddof)·(1 − corr(R, ρ)).

    Args:
        log_prob: log π of steps, summed over their tokens, or of responses [*batch, group]; carries the
            gradient.
        behavior_log_prob: the same under the policy to start from: the reference policy for DAPO, the rollout
            policy for Reg-GRPO; a constant.
        advantage: advantage A, z-scored in the group for `standardize`; a constant.
        temperature: strength β of the KL penalty that the loss stands for; 0.01 in DAPO. The z-scores of
            `standardize` are fitted at temperature 1.
        standardize: static; whether ρ is z-scored along `axis`.
        where: boolean mask, True where an element counts; states with a single candidate have no advantage.
        axis: static; the group axis of `standardize`.
        eps: smallest standard deviation. At π = π_b every ρ is 0 and the gradient −A/eps points along GRPO's
            at a huge length, so clip the gradient's norm, or raise eps.
        ddof: degrees of freedom taken from the count in the variance, as in the advantage's.

    Returns:
        Loss per element, 0 where masked, and with `standardize` in groups whose advantages are all 0: equal
        rewards give no direction.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import policy
        >>> behavior, advantage = jnp.full(3, -1.5), jnp.array([1.0, 0.0, -1.0])
        >>> print(policy.advantage_regression(behavior, behavior, advantage, temperature=2.0))
        [0.125 0.    0.125]
        >>> print(policy.advantage_regression(behavior + advantage / 2, behavior, advantage, temperature=2.0))
        [0. 0. 0.]

    References:
        Liu et al., 2024, "Improving Multi-Step Reasoning Abilities of Large Language Models with Direct
        Advantage-Based Policy Optimization", arXiv:2412.18279 (equation 12).
        Park et al., 2025, "DeepVideo-R1: Video Reinforcement Fine-Tuning via Difficulty-aware Regressive GRPO",
        arXiv:2506.07464 (equations 5 to 8).
    """
    log_prob, behavior_log_prob, advantage = elements(
        log_prob=log_prob, behavior_log_prob=behavior_log_prob, advantage=advantage, where=where
    )
    behavior_log_prob, advantage = lax.stop_gradient((behavior_log_prob, advantage))
    temperature, eps, ddof = like(log_prob, temperature, eps, ddof)
    log_ratio, target = log_prob - behavior_log_prob, advantage / temperature
    if not standardize:
        return jnp.square(target - log_ratio) / 2
    mask = jnp.broadcast_to(True if where is None else where, jnp.broadcast_shapes(log_ratio.shape, target.shape))
    log_ratio = jnp.broadcast_to(log_ratio, mask.shape)
    centered = _centered(log_ratio, mask, axis)
    count = jnp.sum(mask, axis, keepdims=True).astype(log_ratio.dtype)
    variance = jnp.sum(jnp.square(centered), axis, keepdims=True) / jnp.maximum(count - ddof, 1)
    # eps² inside the root, because the slope of √σ² is infinite at the first step, where σ = 0.
    score = centered * lax.rsqrt(variance + jnp.square(eps))
    directed = jnp.any(jnp.broadcast_to(target, mask.shape) != 0, axis, keepdims=True)
    return jnp.where(mask & directed, jnp.square(target - score) / 2, 0)


def _centered(x: Array, mask: Array, axis: int) -> Array:
    """Distance from the group's mean. The lowest goes off first, so that equal values give exactly 0."""
    lowest = jnp.min(lax.stop_gradient(x), axis, keepdims=True, where=mask, initial=jnp.inf)
    shifted = jnp.where(mask, x - lowest, 0)
    return jnp.where(mask, shifted - jnp.expand_dims(mean(shifted, where=mask, axis=axis), axis), 0)
