"""Coefficients that hold a divergence at its target."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from rlx.types import Controller, Scalar, floating, like


class AdaptiveKLState(NamedTuple):
    """The coefficient in force."""

    coefficient: Float[Array, ""]


def adaptive_kl(
    *, target: Scalar, factor: Scalar = 2.0, tolerance: Scalar = 1.5, low: Scalar = 1e-6, high: Scalar = 1e6
) -> Controller:
    """Coefficient of a KL penalty that keeps the KL of a policy update near a target.

    β ← β / factor where KL < target / tolerance, β ← β · factor where KL > target · tolerance, then clip to
    [low, high].

    Args:
        target: wanted KL per update, in nats.
        factor: step of the coefficient, above 1.
        tolerance: width of the band in which the coefficient stays, above 1.
        low: smallest coefficient.
        high: largest coefficient.

    Returns:
        A controller: `init(coefficient)`, `update(state, kl)` gives (coefficient, state), both scalars or of
        the coefficient's shape. A KL that is NaN leaves the coefficient as it is.

    Raises:
        ValueError: if coefficient or kl is not floating.

    References:
        Schulman et al., 2017, "Proximal Policy Optimization Algorithms", arXiv:1707.06347 (section 4).
    """

    def init(coefficient: Scalar) -> AdaptiveKLState:
        return AdaptiveKLState(*floating(coefficient=coefficient))

    def update(state: AdaptiveKLState, kl: Scalar) -> tuple[Array, AdaptiveKLState]:
        (kl,) = floating(kl=kl)
        goal, step, width, lowest, highest = like(state.coefficient, target, factor, tolerance, low, high)
        change = jnp.where(kl > goal * width, step, jnp.where(kl < goal / width, 1 / step, 1))
        coefficient = jnp.clip(state.coefficient * lax.stop_gradient(change), lowest, highest)
        return coefficient, AdaptiveKLState(coefficient)

    return Controller(init, update)
