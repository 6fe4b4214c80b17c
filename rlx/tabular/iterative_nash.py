"""Iterative Nash policy optimization on a finite set of actions."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rlx.types import Scalar, check_broadcast, floating, like


def inpo_step(
    log_prob: Float[Array, "*#batch action"],
    reference_log_prob: Float[Array, "*#batch action"],
    preference: Float[Array, "*#batch action action"],
    *,
    eta: Scalar,
    tau: Scalar,
) -> Float[Array, "*batch action"]:
    """Step of mirror descent towards the Nash equilibrium of a preference, regularized to a reference (INPO).

    π_{t+1} = softmax((τ/η)·log π_ref + (1 − τ/η)·log π_t + P·π_t/η). It minimizes
    `rlx.losses.preference.inpo` in expectation over pairs of π_t, and its fixed point is the regularized
    equilibrium π* ∝ π_ref·exp(P·π*/τ).

    Args:
        log_prob: log π_t of all actions [*batch, action]; unnormalized is enough.
        reference_log_prob: the same of the reference policy π_ref.
        preference: P [*batch, action, action], the probability that the row's action is preferred to the
            column's; P + Pᵀ = 1.
        eta: inverse step size η, at least τ.
        tau: strength τ of the regularization.

    Returns:
        log π_{t+1}, normalized [*batch, action].

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.tabular import inpo_step
        >>> uniform, preference = jnp.log(jnp.array([0.5, 0.5])), jnp.array([[0.5, 0.9], [0.1, 0.5]])
        >>> [round(x, 3) for x in jnp.exp(inpo_step(uniform, uniform, preference, eta=1.0, tau=0.5)).tolist()]
        [0.599, 0.401]

    References:
        Zhang et al., 2024, "Iterative Nash Policy Optimization: Aligning LLMs with General Preferences via
        No-Regret Learning", arXiv:2407.00617.
    """
    log_prob, reference_log_prob, preference = floating(
        log_prob=log_prob, reference_log_prob=reference_log_prob, preference=preference
    )
    for side in (preference[..., 0], preference[..., 0, :]):
        check_broadcast(log_prob=log_prob, reference_log_prob=reference_log_prob, preference=side)
    eta, tau = like(log_prob, eta, tau)
    log_prob = jax.nn.log_softmax(log_prob)
    win_rate = jnp.sum(preference * jnp.exp(log_prob)[..., None, :], -1)
    share = tau / eta
    return jax.nn.log_softmax(share * reference_log_prob + (1 - share) * log_prob + win_rate / eta)
