"""What a policy update has to learn: the information that a target adds to a reference."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import elements


def differential_information(
    log_prob: Float[Array, "*#batch"],
    reference_log_prob: Float[Array, "*#batch"],
    *,
    axis: int = -1,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Log-probabilities of the differential information distribution (DID) of an update, on an enumerated support.

    DID(y) = (π(y)/π_ref(y)) / Σ_y' (π(y')/π_ref(y')). Where preferences have the odds of DID^β, the log-ratio is the
    right reward for DPO, and π its only optimum. Its entropy, `categorical_entropy` of the result, is log |Y| at
    π = π_ref; a low one means that few responses carry the update, which then sharpens, a high one that it
    smooths and lowers the likelihood of chosen responses.

    Args:
        log_prob: log π over the support [*batch, response], up to a constant.
        reference_log_prob: log π_ref over the support, up to a constant.
        axis: static; the axis of the responses.
        where: boolean mask, True where a response counts; mask those that π_ref excludes.

    Returns:
        log DID [*batch, response], without gradient, 0 where masked: mask it again before taking probabilities.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import differential_information
        >>> log_prob, reference_log_prob = jnp.log(jnp.array([[0.8, 0.2], [0.4, 0.6]]))
        >>> [round(x, 3) for x in jnp.exp(differential_information(log_prob, reference_log_prob)).tolist()]
        [0.857, 0.143]

    Reconstruction:
        Definitions of the paper's abstract; what it says of entropies is restated here, not proved.

    References:
        Won et al., 2025, "Differential Information: An Information-Theoretic Perspective on Preference
        Optimization", arXiv:2505.23761.
    """
    log_prob, reference_log_prob = lax.stop_gradient(
        elements(log_prob=log_prob, reference_log_prob=reference_log_prob, where=where)
    )
    log_ratio = log_prob - reference_log_prob
    if where is None:
        return jax.nn.log_softmax(log_ratio, axis)
    mask = jnp.broadcast_to(where, log_ratio.shape)
    return jnp.where(mask, jax.nn.log_softmax(jnp.where(mask, log_ratio, -jnp.inf), axis), 0)


def differential_information_entropy(
    log_prob: Float[Array, "*#batch"],
    reference_log_prob: Float[Array, "*#batch"],
    *,
    axis: int = -1,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "..."]:
    """Entropy of the differential information distribution (DID), estimated from samples of the policy.

    With y_i ~ π, ρ = log π − log π_ref and weights e^ρ/π = 1/π_ref: log Z ≈ log (1/n) Σ_i 1/π_ref(y_i),
    w̄_i ∝ 1/π_ref(y_i), and H ≈ log Z − Σ_i w̄_i·ρ_i. Consistent, but of huge variance on sequences, where a
    few improbable samples have all the weight.

    Args:
        log_prob: log π of samples of π, normalized [*batch, sample].
        reference_log_prob: log π_ref of the samples, normalized.
        axis: static; the sample axis.
        where: boolean mask, True where a sample counts.

    Returns:
        Entropy [*batch] in nats, without gradient; 0 where no sample counts.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import differential_information_entropy
        >>> log_prob = jnp.log(jnp.full(3, 0.25))
        >>> entropy = differential_information_entropy(log_prob, log_prob)
        >>> round(float(entropy), 3)  # without an update the logarithm of the 4 responses
        1.386

    Reconstruction:
        The paper's own estimator is not known to us: this is self-normalized importance sampling of the
        definition.

    References:
        Won et al., 2025, "Differential Information: An Information-Theoretic Perspective on Preference
        Optimization", arXiv:2505.23761.
    """
    log_prob, reference_log_prob = lax.stop_gradient(
        jnp.broadcast_arrays(*elements(log_prob=log_prob, reference_log_prob=reference_log_prob, where=where))
    )
    mask = jnp.broadcast_to(True if where is None else where, log_prob.shape)
    log_weight = jnp.where(mask, -reference_log_prob, -jnp.inf)
    count = jnp.sum(mask, axis).astype(log_prob.dtype)
    total = jax.nn.logsumexp(log_weight, axis, keepdims=True)
    share = jnp.where(mask, jnp.exp(log_weight - total), 0)
    log_ratio = jnp.where(mask, log_prob - reference_log_prob, 0)
    entropy = jnp.squeeze(total, axis) - jnp.log(jnp.maximum(count, 1)) - jnp.sum(share * log_ratio, axis)
    return jnp.where(count > 0, entropy, 0)
