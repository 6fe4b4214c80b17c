"""Losses of policies that follow the critic's gradient through a reparameterized action."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean
from rlx.types import Scalar, elements, like


def value_maximization(
    q: Float[Array, "*batch"],
    *,
    alpha: Scalar | None = None,
    eps: Scalar = 0.0,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Policy loss of TD3 and TD3+BC: a deterministic policy's, by choice on the scale of one critic for all tasks.

    L = −λ·Q(s, π(s)), with λ = sg(alpha / (mean |Q| + eps)) over all elements that count, or λ = 1 for
    alpha=None. alpha=None is TD3; alpha=2.5 plus `rlx.regularizers.behavior.action_distance` is TD3+BC, whose
    loss does not change with the scale of the rewards; alpha=1 is ReBRAC's. Where all Q are 0, λ = alpha.

    Args:
        q: value Q(s, π(s)) [*batch], of one critic or the smallest of several; carries the gradient.
        alpha: mean absolute size of the loss, or None to leave values as they are.
        eps: added to the mean.
        where: boolean mask, True where an element counts.

    Returns:
        Loss per element, 0 where masked.

    Raises:
        ValueError: for a non-floating `q`, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import policy
        >>> q = jnp.array([1.0, 3.0])
        >>> print(policy.value_maximization(q, alpha=2.5), policy.value_maximization(100 * q, alpha=2.5))
        [-1.25 -3.75] [-1.25 -3.75]

    References:
        Fujimoto, van Hoof and Meger, 2018, "Addressing Function Approximation Error in Actor-Critic Methods",
        arXiv:1802.09477 (TD3).
        Fujimoto and Gu, 2021, "A Minimalist Approach to Offline Reinforcement Learning", arXiv:2106.06860
        (TD3+BC).
        Tarasov et al., 2023, "Revisiting the Minimalist Approach to Offline Reinforcement Learning",
        arXiv:2305.09836 (ReBRAC).
    """
    (q,) = elements(q=q, where=where)
    if alpha is None:
        return -q
    alpha, eps = like(q, alpha, eps)
    size = mean(jnp.abs(q), where=where) + eps
    return -lax.stop_gradient(alpha / jnp.where(size == 0, 1, size)) * q


def soft_value_maximization(
    log_prob: Float[Array, "*#batch"],
    q: Float[Array, "*#batch"],
    *,
    temperature: Scalar,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """SAC's policy loss, that of a maximum-entropy policy at a reparameterized action.

    L = sg(α)·log π(a|s) − Q(s, a), with a = a(s, ε) from the policy in training. α = 0 is
    `value_maximization`.

    Args:
        log_prob: log π(a|s) of the sampled actions [*batch]; carries the gradient.
        q: value of the same actions [*batch], the smallest of the critics; carries the gradient.
        temperature: α, in units of value per nat; held constant, `rlx.controllers.entropy_temperature_loss`
            trains it.
        where: boolean mask, True where an element counts.

    Returns:
        Loss per element, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import policy
        >>> log_prob, q = jnp.array([-1.0, -3.0]), jnp.array([2.0, 2.0])
        >>> print(policy.soft_value_maximization(log_prob, q, temperature=0.5))
        [-2.5 -3.5]

    References:
        Haarnoja et al., 2018, "Soft Actor-Critic: Off-Policy Maximum Entropy Deep Reinforcement Learning with
        a Stochastic Actor", arXiv:1801.01290.
    """
    log_prob, q = elements(log_prob=log_prob, q=q, where=where)
    (temperature,) = like(q, temperature)
    return lax.stop_gradient(temperature) * log_prob - q
