"""Equilibria of finite preference games, regularized to a reference policy."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from rlx.losses.preference.nash_md import geometric_mixture
from rlx.types import Scalar, check_broadcast, floating, like


def nash_md_step(
    log_prob: Float[Array, "*#batch response"],
    reference_log_prob: Float[Array, "*#batch response"],
    preference: Float[Array, "*#batch response response"],
    *,
    eta: Scalar,
    tau: Scalar,
) -> Float[Array, "*batch response"]:
    """One exact step of Nash mirror descent, whose last iterate converges to the regularized equilibrium (Nash-MD).

    π' ∝ π^{1−ητ} · μ^{ητ} and π_{t+1} ∝ π' · exp(η P(· ≻ π')), with the win rate P(y ≻ π') = Σ_y' P(y, y')·π'(y').
    KL(π* ‖ π_t) ≤ (1 − ητ)^t KL(π* ‖ π_0) + 2η/τ.

    Args:
        log_prob: log π over all responses [*batch, response]; unnormalized is enough.
        reference_log_prob: the same of the reference policy μ.
        preference: P(y ≻ y'), the probability that row y is preferred to column y' [*batch, response, response],
            with P + Pᵀ = 1.
        eta: step size η, with ητ at most 1.
        tau: strength τ of the regularization to μ.

    Returns:
        Log-probabilities of the next policy [*batch, response]. Differentiable in all.

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.tabular import nash_md_step
        >>> uniform, preference = jnp.log(jnp.array([0.5, 0.5])), jnp.array([[0.5, 0.9], [0.1, 0.5]])
        >>> [round(x, 3) for x in jnp.exp(nash_md_step(uniform, uniform, preference, eta=1.0, tau=0.5)).tolist()]
        [0.599, 0.401]

    References:
        Munos et al., 2023, "Nash Learning from Human Feedback", arXiv:2312.00886.
    """
    preference, log_prob, reference_log_prob = _game(
        preference, log_prob=log_prob, reference_log_prob=reference_log_prob
    )
    eta, tau = like(log_prob, eta, tau)
    mixture = geometric_mixture(log_prob, reference_log_prob, mixture=eta * tau)
    return jax.nn.log_softmax(mixture + eta * _win_rate(preference, mixture))


def regularized_nash(
    preference: Float[Array, "*#batch response response"],
    reference_log_prob: Float[Array, "*#batch response"],
    *,
    tau: Scalar,
    iterations: int,
) -> Float[Array, "*batch response"]:
    """Equilibrium of a preference game in which both players pay for leaving a reference policy (NLHF).

    π* is the Nash equilibrium of P(π ≻ π') − τ KL(π ‖ μ) + τ KL(π' ‖ μ), the only solution of
    π* ∝ μ · exp(P(· ≻ π*) / τ). It is found by mirror descent with prediction: π̄ ∝ π^{1−ητ} μ^{ητ} exp(η P(· ≻ π)),
    π ← ∝ π^{1−ητ} μ^{ητ} exp(η P(· ≻ π̄)), with η = 1 / (1 + τ), which shrinks KL(π* ‖ π) by the
    factor 1 − ητ or more at each iteration: 35 (1 + τ)/τ iterations are enough in float32, 75 (1 + τ)/τ in float64.

    Args:
        preference: P(y ≻ y'), the probability that row y is preferred to column y' [*batch, response, response],
            with P + Pᵀ = 1.
        reference_log_prob: log μ of the reference policy [*batch, response]; unnormalized is enough.
        tau: strength τ of the regularization, positive.
        iterations: static; number of iterations.

    Returns:
        log π* [*batch, response], without gradient.

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.tabular import regularized_nash
        >>> preference, reference = jnp.array([[0.5, 0.9], [0.1, 0.5]]), jnp.log(jnp.array([0.5, 0.5]))
        >>> policy = jnp.exp(regularized_nash(preference, reference, tau=0.5, iterations=105))
        >>> implied = reference + preference @ policy / 0.5  # up to a constant the logarithm of the same policy
        >>> [round(float(x), 3) for x in (policy[0], jnp.exp(implied[0]) / jnp.exp(implied).sum())]
        [0.69, 0.69]

    References:
        Munos et al., 2023, "Nash Learning from Human Feedback", arXiv:2312.00886 (the equilibrium).
        Cen et al., 2021, "Fast Policy Extragradient Methods for Competitive Games with Entropy Regularization",
        arXiv:2105.15186 (the iteration).
    """
    preference, reference = lax.stop_gradient(_game(preference, reference_log_prob=reference_log_prob))
    reference = jnp.broadcast_to(reference, jnp.broadcast_shapes(reference.shape, preference.shape[:-1]))
    (tau,) = like(reference, tau)
    decay = tau / (1 + tau)

    def step(_: Array | int, log_prob: Array) -> Array:
        kept = (1 - decay) * log_prob + decay * reference
        predicted = jax.nn.log_softmax(kept + _win_rate(preference, log_prob) / (1 + tau))
        return jax.nn.log_softmax(kept + _win_rate(preference, predicted) / (1 + tau))

    return lax.stop_gradient(lax.fori_loop(0, iterations, step, jax.nn.log_softmax(reference)))


def _game(preference: Array, **policies: Array) -> tuple[Array, ...]:
    """The arguments in one dtype, and checked: one response axis, twice in the preference."""
    preference, *log_probs = floating(preference=preference, **policies)
    check_broadcast(preference=preference[..., 0], **dict(zip(policies, log_probs, strict=True)))
    if preference.shape[-1] != preference.shape[-2]:
        raise ValueError(f"preference must be square in its last two axes, got shape {preference.shape}")
    return preference, *log_probs


def _win_rate(preference: Array, log_prob: Array) -> Array:
    """P(y ≻ π) of every response y, an explicit sum over opponents."""
    return jnp.sum(preference * jnp.exp(log_prob)[..., None, :], -1)
