"""Weights that undo what asynchronous collection does to the data."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean
from rlx.types import Scalar, elements, like


def duration(
    duration: Float[Array, "*batch"],
    *,
    where: Bool[Array, "*#batch"] | None = None,
    axis: int | tuple[int, ...] | None = None,
    max_weight: Scalar = jnp.inf,
) -> Float[Array, "*batch"]:
    """Weight of each action by the time that it took, under a clock that runs out (duration-aware gradients).

    w = min(Δt / mean(Δt), max_weight), mean 1 without the cap; it multiplies the policy-gradient loss. Where a
    share π(a) of the time goes to action a, as when the clock stops slow actions that were drawn as often, it
    is seen in proportion to π(a)/Δt, and the weight takes that back. Where every drawn action is waited for,
    actions are seen in proportion to π(a) already, and the weight would favor slow ones.

    Args:
        duration: time Δt > 0 that each action took, time-outs in full [*batch].
        where: boolean mask, True where an action counts.
        axis: static; the axis or axes of the mean, all by default.
        max_weight: largest weight, against heavy tails.

    Returns:
        Weights of the same shape, without gradient, 0 where masked.

    Raises:
        ValueError: for a non-floating `duration`, or an unfitting `where`.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import weighting
        >>> print(np.asarray(weighting.duration(jnp.array([1.0, 1.0, 4.0]))).round(3))
        [0.5 0.5 2. ]

    References:
        Yang et al., 2025, "Reinforcement Learning for Machine Learning Engineering Agents", arXiv:2509.01684.
    """
    (duration,) = lax.stop_gradient(elements(duration=duration, where=where))
    (max_weight,) = like(duration, max_weight)
    average = mean(duration, where=where, axis=axis)
    average = average if axis is None else jnp.expand_dims(average, axis)
    return jnp.minimum(duration / jnp.where(average > 0, average, 1), max_weight)
