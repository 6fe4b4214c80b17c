"""Imitation of the best of several samples, with or without a push away from the others."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean
from rlx.types import Scalar, check_choice, elements, like

NEGATIVES = ("mean", "sum", "worst")


def best_of_n(
    log_prob: Float[Array, "..."],
    reward: Float[Array, "..."],
    *,
    negative_weight: Scalar = 0.0,
    negatives: str = "mean",
    axis: int = -1,
    where: Bool[Array, "..."] | None = None,
) -> Float[Array, "..."]:
    """Best-of-N fine-tuning: likelihood of the best response of each group, minus a weight times that of the others.

    With i* = argmax_i r_i, the first of equals, L = −log π(y_i*) + negative_weight · N, and N the mean or the sum of
    log π(y_i) over i ≠ i*, or log π of the lowest reward among them. Weight 0 is maximum likelihood of the best of
    n. A positive weight makes the loss unbounded below, as log π of the others falls: stop early, or pass
    log-ratios to a reference as `log_prob`. In a group of equal rewards the best is arbitrary: mask the group.

    Args:
        log_prob: log-probability of each response, summed over its tokens [*batch, group]; carries the gradient.
        reward: reward of each response [*batch, group], finite; a constant.
        negative_weight: weight λ of the push away from the other responses.
        negatives: static; "mean", "sum" or "worst", which of the others are pushed away.
        axis: static; the group axis.
        where: boolean mask, True where a response counts.

    Returns:
        Loss of each group [*batch]; 0 where no response counts.

    Raises:
        ValueError: for an unknown `negatives`, a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import policy
        >>> log_prob, reward = jnp.array([-4.0, -6.0, -5.0]), jnp.array([0.0, 1.0, 0.5])
        >>> print(policy.best_of_n(log_prob, reward))
        6.0
        >>> print(np.asarray(policy.best_of_n(log_prob, reward, negative_weight=0.1)).round(3))
        5.55

    References:
        Tajwar et al., 2024, "Preference Fine-Tuning of LLMs Should Leverage Suboptimal, On-Policy Data",
        arXiv:2404.14367.
    """
    check_choice("negatives", negatives, NEGATIVES)
    log_prob, reward = jnp.broadcast_arrays(*elements(log_prob=log_prob, reward=reward, where=where))
    (negative_weight,) = like(log_prob, negative_weight)
    mask = jnp.broadcast_to(True if where is None else where, reward.shape)
    reward = lax.stop_gradient(reward)
    best = _first_largest(reward, mask, axis)
    others = mask & ~best
    if negatives == "worst":
        others = _first_largest(-reward, others, axis)
    pushed = jnp.where(others, log_prob, 0).sum(axis)
    if negatives == "mean":
        pushed = mean(log_prob, where=others, axis=axis)
    return negative_weight * pushed - jnp.where(best, log_prob, 0).sum(axis)


def _first_largest(x: Array, mask: Array, axis: int) -> Array:
    """True at the first largest valid element along `axis`; nowhere where none is valid."""
    index = jnp.argmax(jnp.where(mask, x, -jnp.inf), axis)
    return mask & jax.nn.one_hot(index, x.shape[axis], dtype=bool, axis=axis)
