"""Critic losses, to be minimized; one value per element. Targets are held constant."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, elements, like


def squared_error(
    value: Float[Array, "*#batch"],
    target: Float[Array, "*#batch"],
    *,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """PPO's value loss: half the squared distance of the value to its target.

    L = ½ (V − sg(G))².

    Args:
        value: predicted value V [*batch]; carries the gradient.
        target: target G [*batch], such as advantage + value; a constant.
        where: boolean mask, True where an element counts.

    Returns:
        Loss per element, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import value
        >>> print(value.squared_error(jnp.array([1.0, 3.0]), jnp.array([2.0, 0.0])))
        [0.5 4.5]

    References:
        Schulman et al., 2017, "Proximal Policy Optimization Algorithms", arXiv:1707.06347 (equation 9).
    """
    value, target = elements(value=value, target=target, where=where)
    return jnp.square(value - lax.stop_gradient(target)) / 2


def clipped_value(
    value: Float[Array, "*#batch"],
    behavior_value: Float[Array, "*#batch"],
    target: Float[Array, "*#batch"],
    *,
    clip: Scalar = 0.2,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """PPO's value clipping: squared error that stops pulling once the value is far from its value at collection.

    L = ½ max((V − G)², (V_b + clip(V − V_b, −clip, clip) − G)²), with V_b and G held constant.

    Args:
        value: predicted value V [*batch]; carries the gradient.
        behavior_value: value V_b that the critic gave when the data was collected [*batch]; a constant.
        target: target G [*batch]; a constant.
        clip: how far the value may move, in units of value.
        where: boolean mask, True where an element counts.

    Returns:
        Loss per element, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import value
        >>> print(np.asarray(value.clipped_value(jnp.array([0.1, 0.5, 0.9]), jnp.zeros(3), jnp.ones(3))).round(3))
        [0.405 0.32  0.32 ]

    References:
        Schulman et al., 2016, "High-Dimensional Continuous Control Using Generalized Advantage Estimation",
        arXiv:1506.02438 (the trust region on the value function that this relaxes).
        Engstrom et al., 2020, "Implementation Matters in Deep Policy Gradients", arXiv:2005.12729 (this
        form).
    """
    value, behavior_value, target = elements(value=value, behavior_value=behavior_value, target=target, where=where)
    behavior_value, target = lax.stop_gradient((behavior_value, target))
    (clip,) = like(value, clip)
    clipped = behavior_value + jnp.clip(value - behavior_value, -clip, clip)
    return jnp.maximum(jnp.square(value - target), jnp.square(clipped - target)) / 2
