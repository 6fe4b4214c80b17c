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
    """PPO's adaptive coefficient of a KL penalty, which keeps the KL of a policy update near a target.

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

    Examples:
        >>> from rlx.controllers import adaptive_kl
        >>> controller = adaptive_kl(target=0.01)
        >>> state = controller.init(0.2)
        >>> coefficient, state = controller.update(state, 0.05)  # five times the wanted divergence
        >>> round(float(coefficient), 3)
        0.4

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


def kl_adaptive_learning_rate(
    *, target: Scalar = 0.01, factor: Scalar = 1.5, tolerance: Scalar = 2.0, low: Scalar = 1e-5, high: Scalar = 1e-2
) -> Controller:
    """The adaptive learning rate of rsl_rl's PPO, which keeps the policy's KL from the one that acted near a target.

    η ← η / factor where KL > target · tolerance, η ← η · factor where 0 < KL < target / tolerance, then clip to
    [low, high]. It is moved before every gradient step, by the mean KL of that step's minibatch.

    Args:
        target: wanted KL(behavior ‖ policy), in nats; `desired_kl` of rsl_rl.
        factor: step of the learning rate, above 1.
        tolerance: width of the band in which the learning rate stays, above 1.
        low: smallest learning rate.
        high: largest learning rate.

    Returns:
        A controller: `init(rate)`, `update(state, kl)` gives (rate, state), both scalars or of the rate's shape. A KL
        that is 0, since the policy has not moved, or NaN leaves the rate as it is, within its bounds. Defaults are
        those of rsl_rl's code.

    Raises:
        ValueError: if rate or kl is not floating.

    Examples:
        >>> from rlx.controllers import kl_adaptive_learning_rate
        >>> controller = kl_adaptive_learning_rate(target=0.01)
        >>> state = controller.init(1e-3)
        >>> rate, state = controller.update(state, 0.002)  # the policy moves too little
        >>> round(float(rate), 5)
        0.0015

    References:
        Rudin et al., 2021, "Learning to Walk in Minutes Using Massively Parallel Deep Reinforcement Learning",
        arXiv:2109.11978 (appendix A.3), and its code rsl_rl.
    """
    controller = adaptive_kl(target=target, factor=1 / factor, tolerance=tolerance, low=low, high=high)

    def update(state: AdaptiveKLState, kl: Scalar) -> tuple[Array, AdaptiveKLState]:
        (kl,) = floating(kl=kl)
        return controller.update(state, jnp.where(kl > 0, kl, jnp.nan))

    return Controller(controller.init, update)


def proportional_kl(*, target: Scalar, gain: Scalar = 0.1, limit: Scalar = 0.2) -> Controller:
    """RLHF's adaptive coefficient of a KL penalty, which moves in proportion to the relative error of the KL.

    β ← β·(1 + gain·clip((KL − target) / target, −limit, limit)). Ziegler et al. and TRL have gain = n / horizon
    for a batch of n samples.

    Args:
        target: wanted KL, in nats of whatever unit `kl` is measured in: per token or per response.
        gain: step per update at a relative error of 1.
        limit: largest relative error that counts; a sampled KL may be far off, or negative.

    Returns:
        A controller: `init(coefficient)`, `update(state, kl)` gives (coefficient, state), both scalars or of
        the coefficient's shape. Update once per batch with its mean KL. The coefficient stays positive for
        gain·limit < 1; a KL that is NaN leaves it as it is.

    Raises:
        ValueError: if coefficient or kl is not floating.

    Examples:
        >>> from rlx.controllers import proportional_kl
        >>> controller = proportional_kl(target=0.02)
        >>> state = controller.init(0.2)
        >>> coefficient, state = controller.update(state, 0.022)  # a tenth too much: a hundredth more
        >>> round(float(coefficient), 3)
        0.202

    References:
        Ziegler et al., 2019, "Fine-Tuning Language Models from Human Preferences", arXiv:1909.08593.
        Li et al., 2023, "Guiding Large Language Models via Directional Stimulus Prompting", arXiv:2302.11520
        (these defaults).
    """

    def init(coefficient: Scalar) -> AdaptiveKLState:
        return AdaptiveKLState(*floating(coefficient=coefficient))

    def update(state: AdaptiveKLState, kl: Scalar) -> tuple[Array, AdaptiveKLState]:
        (kl,) = lax.stop_gradient(floating(kl=kl))
        kl, goal, step, bound = like(state.coefficient, kl, target, gain, limit)
        error = jnp.clip((kl - goal) / goal, -bound, bound)
        coefficient = state.coefficient * (1 + step * jnp.where(jnp.isnan(error), 0, error))
        return coefficient, AdaptiveKLState(coefficient)

    return Controller(init, update)
