"""Coefficients that steer the entropy of a policy over training."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from rlx.types import Scalar, floating, like


def entropy_temperature(
    entropy: Float[Array, "*batch"], *, target: Scalar = 0.5, low: Scalar = 0.8, high: Scalar = 1.2
) -> Float[Array, "*batch"]:
    """Sampling temperature that pushes the entropy back to its target from both sides (AEPO).

    T = high where H ≤ target, otherwise T = low. AEPO samples extra responses at T and takes the successful ones
    as positive examples (`rlx.losses.policy.policy_gradient` on log-probabilities at temperature 1): hot samples
    raise the entropy of the policy that imitates them, cold ones lower it.

    Args:
        entropy: estimate H of the policy's entropy in nats, such as the last update's mean of −log π.
        target: entropy to hold.
        low: temperature above the target.
        high: temperature at and below the target.

    Returns:
        Temperatures of the same shape, without gradient.

    Raises:
        ValueError: if `entropy` is not floating.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.controllers import entropy_temperature
        >>> [round(x, 3) for x in entropy_temperature(jnp.array([0.3, 0.7])).tolist()]
        [1.2, 0.8]

    References:
        Wang et al., 2025, "Arbitrary Entropy Policy Optimization", arXiv:2510.08141 (as in the official code,
        597358816/AEPO).
    """
    (entropy,) = lax.stop_gradient(floating(entropy=entropy))
    target, low, high = lax.stop_gradient(like(entropy, target, low, high))
    return jnp.where(entropy <= target, high, low)


def two_phase_decay(
    step: Scalar, *, total_steps: Scalar, middle: Scalar = 0.8, slow: Scalar = 2.0, fast: Scalar = 3.0
) -> Float[Array, "..."]:
    """Weight that falls slowly in the first half of training and fast in the second (EPO).

    With h = ⌊N/2⌋ and the step e clipped to [0, N]: w = 1 − (1 − middle)·(1 − exp(−slow·e/h)) for e ≤ h, then
    w = middle·exp(−fast·(e − h)/(N − h)). The two do not meet at h, as in the official code.

    Args:
        step: updates or epochs done, e; a number or an array.
        total_steps: length N of training in the same unit, above 0; 150 epochs in the paper's code.
        middle: what the first phase tends to, and where the second starts.
        slow: rate of the first phase.
        fast: rate of the second phase.

    Returns:
        Weights of the step's shape; float32 for an integer step.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.controllers import two_phase_decay
        >>> [round(x, 3) for x in two_phase_decay(jnp.array([0, 75, 76, 150]), total_steps=150).tolist()]
        [1.0, 0.827, 0.769, 0.04]

    References:
        Xu et al., 2025, "EPO: Entropy-regularized Policy Optimization for LLM Agents Reinforcement Learning",
        arXiv:2509.22576 (as in the official code, WujiangXu/EPO).
    """
    step = jnp.asarray(step)
    step = step.astype(jnp.result_type(step, float))
    total_steps, middle, slow, fast = like(step, total_steps, middle, slow, fast)
    step, half = jnp.clip(step, 0, total_steps), jnp.floor(total_steps / 2)
    first = 1 - (1 - middle) * -jnp.expm1(-slow * step / jnp.maximum(half, 1))
    second = middle * jnp.exp(-fast * (step - half) / (total_steps - half))
    return jnp.where(step <= half, first, second)
