"""Strength of a preference loss per pair, from how clear the pair is and how far training is."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from rlx.types import Scalar, check_broadcast, floating, like


def preference_beta(
    reward_gap: Float[Array, "*batch"],
    step: Int[Array, ""] | Float[Array, ""] | int | float,
    *,
    beta: Scalar = 5000.0,
    start: Scalar,
    stop: Scalar,
    floor: Scalar = 0.5,
) -> Float[Array, "*batch"]:
    """Strength β of each pair, proportional to the certainty of its label and lowered during training (PNAPO).

    β(δ, n) = β·(2σ(δ) − 1)·g(n), where g falls from 1 at n = start by half a cosine to `floor` at n = stop and
    is constant outside: g = floor + (1 − floor)·½(1 + cos(π·(n − start)/(stop − start))).

    Args:
        reward_gap: δ ≥ 0, reward of the chosen minus that of the rejected sample [*batch]; a constant.
        step: n, how many updates have been made.
        beta: largest strength.
        start: step at which the strength begins to fall.
        stop: step from which it is constant, above `start`.
        floor: share of the strength that remains.

    Returns:
        Strength per pair, without gradient.

    Raises:
        ValueError: for a non-floating reward_gap.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.controllers import preference_beta
        >>> reward_gap = jnp.array([0.0, 1.0, 4.0])
        >>> [round(x, 3) for x in preference_beta(reward_gap, 100, beta=1.0, start=100, stop=300).tolist()]
        [0.0, 0.462, 0.964]
        >>> [round(x, 3) for x in preference_beta(reward_gap, 300, beta=1.0, start=100, stop=300).tolist()]
        [0.0, 0.231, 0.482]

    References:
        Lu et al., 2026, "Offline Preference Optimization for Rectified Flow with Noise-Tracked Pairs",
        arXiv:2605.09433.

    Reconstruction:
        From a digest of the paper, which names the factors, the cosine and its ends 1 and ½; the cosine's
        exact form is ours.
    """
    (reward_gap,) = floating(reward_gap=reward_gap)
    check_broadcast(reward_gap=reward_gap, step=step)
    certainty = jnp.tanh(reward_gap / 2)
    # Steps beyond 256 are not whole numbers in bfloat16, so the schedule has a dtype of its own.
    wide = jnp.zeros((), jnp.promote_types(reward_gap.dtype, jnp.float32))
    step, start, stop, floor = like(wide, step, start, stop, floor)
    progress = jnp.clip((step - start) / (stop - start), 0, 1)
    decay = floor + (1 - floor) * (1 + jnp.cos(jnp.pi * progress)) / 2
    (scale,) = like(reward_gap, beta * decay)
    return lax.stop_gradient(scale * certainty)
