"""Clip bounds that are searched anew on every batch."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, elements, like
from rlx.weighting.ratio import importance_log_ratio


def balanced_clip(
    log_prob: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    advantage: Float[Array, "*#batch"],
    *,
    target: Scalar = 1.0,
    low: tuple[Scalar, Scalar] = (0.6, 0.8),
    high: tuple[Scalar, Scalar] = (1.2, 2.0),
    low_step: Scalar = 0.05,
    high_step: Scalar = 0.05,
    epsilon: Scalar = 1e-8,
    where: Bool[Array, "*#batch"] | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Clip bounds at which the positive advantages of a batch contribute enough to the surrogate (BAPO).

    With r = π / π_b, its logarithm bounded to ±20, the contributions at bounds (lower, upper) are
    P = Σ_{A≥0} A · min(r, upper) and N = Σ_{A<0} |A| · max(r, lower), and ratio = P / (N + epsilon), infinite
    for N = 0. From (low[0], high[0]), while ratio < target: lower ← min(lower + low_step, low[1]) up to low[1];
    then upper ← min(upper + high_step, high[1]) up to high[1]. Raising `lower` cannot raise this ratio, so a
    search that does not end at its start always takes it to low[1]; what that buys is in the surrogate, where
    negative tokens of low ratio lose their gradient. The bounds are for `rlx.losses.policy.clipped_surrogate`
    with clip_low = 1 − lower, clip_high = upper − 1 and dual_clip = 3. Each step of the search reads the batch
    once.

    Args:
        log_prob: log π(a|s) of the taken actions under the policy in training [*batch].
        behavior_log_prob: the same under the policy that generated the data [*batch].
        advantage: advantage A [*batch]. One per sequence is passed as advantage[..., None].
        target: wanted P / N; a share ρ of the positive in P + N is ρ / (1 − ρ).
        low: first and largest lower bound of the ratio.
        high: first and largest upper bound of the ratio.
        low_step: step of the lower bound; 0 keeps it at low[0].
        high_step: step of the upper bound; 0 keeps it at high[0].
        epsilon: added to N.
        where: boolean mask, True where an element counts.

    Returns:
        (lower, upper, ratio), scalars without gradient.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.controllers import balanced_clip
        >>> log_prob, advantage = jnp.log(jnp.array([1.5, 1.0, 0.7])), jnp.array([1.0, -1.0, -1.0])
        >>> bounds = balanced_clip(log_prob, jnp.zeros(3), advantage, target=0.8)
        >>> [round(float(x), 3) for x in bounds]  # lower, upper, ratio
        [0.8, 1.45, 0.806]

    References:
        Xi et al., 2025, "BAPO: Stabilizing Off-Policy Reinforcement Learning for LLMs via Balanced Policy
        Optimization with Adaptive Clipping", arXiv:2510.18927.
    """
    log_prob, behavior_log_prob, advantage = lax.stop_gradient(
        elements(log_prob=log_prob, behavior_log_prob=behavior_log_prob, advantage=advantage, where=where)
    )
    policy_ratio = jnp.exp(importance_log_ratio(log_prob, behavior_log_prob, where=where))
    # Sums over a batch, and small steps, are lost in bfloat16.
    wide = jnp.zeros((), jnp.promote_types(log_prob.dtype, jnp.float32))
    target, low_step, high_step, epsilon, low_start, low_end, high_start, high_end = lax.stop_gradient(
        like(wide, target, low_step, high_step, epsilon, *low, *high)
    )

    def balance(lower: Array, upper: Array) -> Array:
        effective = jnp.where(advantage < 0, jnp.maximum(policy_ratio, lower), jnp.minimum(policy_ratio, upper))
        contribution = advantage * effective
        positive = jnp.sum(jnp.maximum(contribution, 0), dtype=wide.dtype)
        negative = jnp.sum(jnp.maximum(-contribution, 0), dtype=wide.dtype)
        return jnp.where(negative > 0, positive / (negative + epsilon), jnp.inf)

    def raised(lower: Array, upper: Array) -> tuple[Array, Array]:
        """The next pair of bounds; the same pair at the end, or where a step is too small to count."""
        next_lower = jnp.maximum(lower, jnp.minimum(lower + low_step, low_end))
        next_upper = jnp.maximum(upper, jnp.minimum(upper + high_step, high_end))
        return next_lower, jnp.where(next_lower > lower, upper, next_upper)

    def searching(state: tuple[Array, Array, Array]) -> Array:
        lower, upper, ratio = state
        next_lower, next_upper = raised(lower, upper)
        return (ratio < target) & ((next_lower > lower) | (next_upper > upper))

    def advance(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        lower, upper = raised(*state[:2])
        return lower, upper, balance(lower, upper)

    start = low_start, high_start, balance(low_start, high_start)
    lower, upper, ratio = (x.astype(log_prob.dtype) for x in lax.while_loop(searching, advance, start))
    return lower, upper, ratio
