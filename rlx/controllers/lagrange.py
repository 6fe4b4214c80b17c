"""Multipliers that hold a constraint."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from rlx.types import Controller, Scalar, floating, like


class LagrangeMultiplierState(NamedTuple):
    """The multiplier in force."""

    multiplier: Float[Array, "..."]


def lagrange_multiplier(*, step: Scalar, lower: Scalar = 0.0, upper: Scalar = jnp.inf) -> Controller:
    """Lagrange multiplier of a constraint g ≤ 0 by projected dual ascent (R²VPO).

    λ ← clip(λ + step · g, lower, upper), with g the violation, such as E[(r − 1)²] − δ: λ rises while the
    constraint is violated and falls to `lower` where it has slack. The loss adds λ·g with λ constant; no gradient
    flows through the violation into λ.

    Args:
        step: step size of the ascent.
        lower: smallest multiplier; -inf for a constraint g = 0.
        upper: largest multiplier.

    Returns:
        A controller: `init(value)`, `update(state, violation)` gives (multiplier, state), scalars or
        of the value's shape. A violation that is NaN leaves the multiplier as it is.

    Raises:
        ValueError: if value or violation is not floating.

    Examples:
        >>> from rlx.controllers import lagrange_multiplier
        >>> controller = lagrange_multiplier(step=0.5)
        >>> state = controller.init(1.0)
        >>> multiplier, state = controller.update(state, 0.5)
        >>> float(multiplier)
        1.25

    References:
        Luo et al., 2026, "Ratio-Variance Regularized Policy Optimization for Efficient LLM Fine-tuning",
        arXiv:2601.03320.
        Stooke et al., 2020, "Responsive Safety in Reinforcement Learning by PID Lagrangian Methods",
        arXiv:2007.03964 (its integral term).
    """

    def init(value: Scalar) -> LagrangeMultiplierState:
        return LagrangeMultiplierState(*floating(value=value))

    def update(state: LagrangeMultiplierState, violation: Scalar) -> tuple[Array, LagrangeMultiplierState]:
        (violation,) = lax.stop_gradient(floating(violation=violation))
        # A step of 0 times an infinite violation is NaN as well.
        rate, change, lowest, highest = like(state.multiplier, step, violation, lower, upper)
        moved = state.multiplier + rate * change
        multiplier = jnp.clip(jnp.where(jnp.isnan(moved), state.multiplier, moved), lowest, highest)
        return multiplier, LagrangeMultiplierState(multiplier)

    return Controller(init, update)
