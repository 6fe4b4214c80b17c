"""Noise around a deterministic policy's action."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rlx.types import Scalar, floating, like


def target_policy_smoothing(
    key: PRNGKeyArray,
    action: Float[Array, "*batch"],
    *,
    std: Scalar = 0.2,
    clip: Scalar = 0.5,
    low: Scalar = -1.0,
    high: Scalar = 1.0,
) -> Float[Array, "*batch"]:
    """TD3's target policy smoothing: clipped noise on the action, so that a critic is learned flat around it.

    a' = clip(a + h·clip(ε·std, −clip, clip), low, high), with ε ~ N(0, 1) and h = (high − low) / 2, or 1 where
    the action is unbounded.

    Args:
        key: for the noise.
        action: a [*batch, action]; its gradient passes where no bound holds.
        std: standard deviation of the noise, in units of half the action's range.
        clip: largest noise, in the same units.
        low: smallest action; a number, or an array [action].
        high: largest action; a number, or an array [action].

    Returns:
        Actions of the same shape.

    Raises:
        ValueError: for a non-floating `action`.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from rlx.policies import target_policy_smoothing
        >>> smoothed = target_policy_smoothing(jax.random.key(0), jnp.zeros(10_000))
        >>> round(float(jnp.std(smoothed)), 1), round(float(jnp.max(smoothed)), 3)  # the noise and its clip
        (0.2, 0.5)

    References:
        Fujimoto, van Hoof and Meger, 2018, "Addressing Function Approximation Error in Actor-Critic Methods",
        arXiv:1802.09477 (TD3).
    """
    (action,) = floating(action=action)
    std, clip, low, high = like(action, std, clip, low, high)
    half = jnp.where(jnp.isfinite(high - low), (high - low) / 2, 1)
    noise = jnp.clip(std * jax.random.normal(key, action.shape, action.dtype), -clip, clip)
    return jnp.clip(action + half * noise, low, high)
