"""Return and advantage estimators, along time and along a group of rollouts. Results are constants."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Num

from rlx.types import Scalar, check_broadcast, elements, like


def gae(
    reward: Float[Array, "*#batch"],
    discount: Float[Array, "*#batch"] | float,
    value: Float[Array, "*#batch"],
    next_value: Float[Array, "*#batch"],
    *,
    lambda_: Scalar = 0.95,
    truncation: Bool[Array, "*#batch"] | Num[Array, "*#batch"] | None = None,
    axis: int = 0,
) -> Float[Array, "*batch"]:
    """Generalized advantage estimation (GAE), exact where an episode is cut by a time limit.

    δ_t = R_t + d_t·V'_t − V_t,  A_t = δ_t + d_t·λ·(1 − truncation_t)·A_{t+1}. The value target is A + V.
    Termination (d_t = 0) ends both the bootstrap and the trace: V'_t is not read there, and may be NaN.
    Truncation ends the trace alone, since the next row is another episode, while δ_t keeps its bootstrap.

    Args:
        reward: R_t [time, *batch].
        discount: d_t = γ·(1 − termination_t).
        value: V_t of the observation acted on.
        next_value: V'_t of the observation that the transition reached, before any reset.
        lambda_: λ in [0, 1]: 0 gives the one-step error, 1 the discounted return − V.
        truncation: True or 1 where the episode was cut without terminating; None for nowhere.
        axis: static; the time axis.

    Returns:
        Advantages of the same shape, without gradient.

    Raises:
        ValueError: for a non-floating array, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import returns
        >>> reward, discount = jnp.array([1.0, 1.0, 1.0]), jnp.array([0.9, 0.9, 0.0])
        >>> value, next_value = jnp.array([2.0, 1.0, 0.5]), jnp.array([1.0, 0.5, jnp.nan])
        >>> print(np.asarray(returns.gae(reward, discount, value, next_value, lambda_=1.0)).round(3))
        [0.71 0.9  0.5 ]
        >>> print(np.asarray(returns.gae(reward, discount, value, next_value, lambda_=0.0)).round(3))
        [-0.1   0.45  0.5 ]

    References:
        Schulman et al., 2016, "High-Dimensional Continuous Control Using Generalized Advantage Estimation",
        arXiv:1506.02438.
        Pardo et al., 2018, "Time Limits in Reinforcement Learning", arXiv:1712.00378 (bootstrap at
        truncations).
    """
    shape = check_broadcast(reward=reward, discount=discount, value=value, next_value=next_value, truncation=truncation)
    reward, discount, value, next_value = elements(reward=reward, discount=discount, value=value, next_value=next_value)
    (lambda_,) = like(reward, lambda_)
    # Beyond an episode's end the next value means nothing, and 0 · NaN would be NaN.
    delta = reward + discount * jnp.where(discount == 0, 0, next_value) - value
    decay = discount * lambda_
    if truncation is not None:
        decay = decay * (1 - jnp.asarray(truncation, decay.dtype))

    steps = tuple(jnp.moveaxis(jnp.broadcast_to(x, shape), axis, 0) for x in lax.stop_gradient((delta, decay)))
    _, advantage = lax.scan(_accumulate, jnp.zeros_like(steps[0][0]), steps, reverse=True)
    return jnp.moveaxis(advantage, 0, axis)


def _accumulate(advantage: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
    """One step of the recursion. A module-level function, so that uncompiled calls reuse the traced loop."""
    delta, decay = step
    # Where the trace ends the next row is another episode's, whatever it holds.
    advantage = delta + decay * jnp.where(decay == 0, 0, advantage)
    return advantage, advantage
