"""Policies from which improbable actions are removed."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from rlx.types import Scalar, check_broadcast, check_choice, elements, like
from rlx.weighting.nucleus import nucleus_threshold


def filtered_log_prob(
    logits: Float[Array, "..."],
    action: Int[Array, "..."],
    *,
    kind: str = "min_p",
    threshold: Scalar = 0.02,
    floor: Scalar = -1e4,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Log-probability of an action under the policy without its improbable actions (min-p, Lp-Reg).

    log softmax(z)_a with z = log p, p = softmax(logits), and z = floor where an action is removed. Kept is what
    has p ≥ threshold·max p (kind "min_p"), p ≥ threshold ("probability"), or belongs to the fewest most probable
    actions that together have probability threshold ("top_p"). What is kept is constant: the gradient runs
    through the probabilities of the kept actions.

    Args:
        logits: unnormalized log-probabilities [*batch, action]; carries the gradient. Stop it to make a proxy
            of the behavior policy (`rlx.losses.policy.low_probability_surrogate`).
        action: index of the taken action [*batch].
        kind: static; "min_p", "probability" or "top_p".
        threshold: probability, absolute or relative, at which an action is kept.
        floor: log-probability of a removed action before the normalization.
        axis: static; the action axis.

    Returns:
        Log-probability [*batch], close to floor where the action was removed.

    Raises:
        ValueError: for an unknown `kind`, `logits` that are not floating, an `action` that is not integer, or
            unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.policies import filtered_log_prob
        >>> logits = jnp.log(jnp.array([0.6, 0.39, 0.01]))
        >>> probability = jnp.exp(filtered_log_prob(logits, jnp.array(0), threshold=0.1))
        >>> round(float(probability), 3)  # 0.6 / 0.99, since the last action is removed
        0.606

    References:
        Huang et al., 2025, "Low-probability Tokens Sustain Exploration in Reinforcement Learning with
        Verifiable Reward", arXiv:2510.03222 (min_p and probability, as in the official code,
        CarlanLark/Lp-Reg-dev).
        Nguyen et al., 2024, "Turning Up the Heat: Min-p Sampling for Creative and Coherent LLM Outputs",
        arXiv:2407.01082.
        Holtzman et al., 2019, "The Curious Case of Neural Text Degeneration", arXiv:1904.09751 (top_p).
    """
    check_choice("kind", kind, ("min_p", "probability", "top_p"))
    (logits,) = elements(logits=logits)
    if not jnp.issubdtype(action.dtype, jnp.integer):
        raise ValueError(f"action must be an integer array of indices, got dtype {action.dtype}")
    index = jnp.expand_dims(action, axis)
    check_broadcast(logits=logits, action=index)
    wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    log_sum = jax.nn.logsumexp(wide, axis, keepdims=True)
    threshold, floor = like(log_sum, threshold, floor)
    if kind == "min_p":
        lowest = jnp.max(wide, axis, keepdims=True) + jnp.log(threshold)
    elif kind == "probability":
        lowest = log_sum + jnp.log(threshold)
    else:
        lowest = jnp.expand_dims(nucleus_threshold(wide, top_p=threshold, axis=axis), axis)
    lowest = lax.stop_gradient(lowest)
    filtered = lambda z: jnp.where(z >= lowest, z - log_sum, floor)
    normalizer = jax.nn.logsumexp(filtered(wide), axis, keepdims=True)
    log_prob = filtered(jnp.take_along_axis(wide, index, axis)) - normalizer
    return jnp.squeeze(log_prob, axis).astype(logits.dtype)
