"""Values whose residuals are the dual of a divergence between visitation distributions."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.regularizers.divergence.generators import f_conjugate
from rlx.types import Scalar, elements, like


class DiceValue(NamedTuple):
    """The three parts of the loss, per element; their gradients are combined before they are added."""

    linear: Float[Array, "..."]
    forward: Float[Array, "..."]
    backward: Float[Array, "..."]


def dice_value(
    value: Float[Array, "*#batch"],
    next_value: Float[Array, "*#batch"],
    target_value: Float[Array, "*#batch"],
    target_next_value: Float[Array, "*#batch"],
    reward: Float[Array, "*#batch"],
    discount: Float[Array, "*#batch"] | float,
    *,
    lambda_: Scalar = 0.6,
    eta: Scalar = 1.0,
    divergence: str = "pearson",
    where: Bool[Array, "*#batch"] | None = None,
) -> DiceValue:
    """O-DICE's dual value loss of distribution correction, in parts, so that its two gradients can be kept apart.

    With f* the convex conjugate of the divergence, and the targets V̄ held constant:
    linear = (1 − λ)·V(s), forward = λ·f*(r + d·V̄(s') − V(s)), backward = λ·η·f*(r + d·V(s') − V̄(s)).
    O-DICE descends ∇mean(linear) + `rlx.transforms.orthogonalize`(∇mean(forward), ∇mean(backward)). η = 0 is
    the semi-gradient; the true gradient, for comparison, is that of f*(r + d·V(s') − V(s)) in place of both. The
    policy's weight for `rlx.losses.imitation.behavior_cloning` comes from the forward residual:
    `rlx.weighting.advantage_weight(residual, kind="relu")` for "pearson", and at residual − 1 with kind="exp" and
    beta=1 for "reverse_kl".

    Args:
        value: V(s) [*batch], or [ensemble, *batch]; carries the gradient.
        next_value: V(s') of the same shape; carries the gradient.
        target_value: V̄(s) of the slowly moving copy, the smaller of twins; a constant.
        target_next_value: V̄(s'); a constant.
        reward: r [*batch]; a constant.
        discount: d = γ·(1 − termination) [*batch]; a constant.
        lambda_: λ in (0, 1), the share of the residuals; larger is closer to the best actions of the data.
        eta: η, weight of the backward part.
        divergence: static; as in `rlx.regularizers.divergence.f_conjugate`.
        where: boolean mask, True where an element counts.

    Returns:
        A `DiceValue` of arrays [*batch], 0 where masked.

    Raises:
        ValueError: for an unknown `divergence`, a non-floating array, a non-boolean `where`, or unfitting
            shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import value
        >>> v, next_v, reward = jnp.array([1.0]), jnp.array([2.0]), jnp.array([1.0])
        >>> linear, forward, backward = value.dice_value(v, next_v, v / 2, next_v, reward, 0.5)
        >>> print(np.asarray(linear).round(2), np.asarray(forward).round(2), np.asarray(backward).round(2))
        [0.4] [0.75] [1.24]

    References:
        Mao et al., 2024, "ODICE: Revealing the Mystery of Distribution Correction Estimation via
        Orthogonal-gradient Update", arXiv:2402.00348.
    """
    value, next_value, target_value, target_next_value, reward, discount = elements(
        value=value,
        next_value=next_value,
        target_value=target_value,
        target_next_value=target_next_value,
        reward=reward,
        discount=discount,
        where=where,
    )
    # Where nothing follows, what a simulator left there, perhaps a NaN, must not count in value or gradient.
    next_value, target_next_value = (jnp.where(discount == 0, 0, x) for x in (next_value, target_next_value))
    lambda_, eta = like(value, lambda_, eta)
    target_value, target_next_value, reward, discount = lax.stop_gradient(
        (target_value, target_next_value, reward, discount)
    )
    forward = lambda_ * f_conjugate(reward + discount * target_next_value - value, divergence=divergence)
    backward = lambda_ * eta * f_conjugate(reward + discount * next_value - target_value, divergence=divergence)
    if where is not None:  # f*(0) is not 0 for every divergence.
        forward, backward = jnp.where(where, forward, 0), jnp.where(where, backward, 0)
    return DiceValue((1 - lambda_) * value, forward, backward)
