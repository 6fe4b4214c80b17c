"""Advantages normalized by how success rates are distributed over the questions. Results are constants."""

import jax.numpy as jnp
from jax import lax
from jax.scipy.special import betaln, xlog1py, xlogy
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean
from rlx.types import Scalar, elements, like


def beta_normalized(
    reward: Float[Array, "*batch"],
    *,
    low: Scalar = 0.0,
    high: Scalar = 1.0,
    where: Bool[Array, "*#batch"] | None = None,
    axis: int = -1,
    max_weight: Scalar = 1e6,
) -> Float[Array, "*batch"]:
    """Advantage of each rollout over its group, normalized by a Beta density fitted to the success rates (BNPO).

    With r = (R − low) / (high − low), p the mean r of a question, and m and v the mean and variance (ddof 1) of p
    over the questions, Beta(a, b) has these moments for (a, b) = (m·(1 − m)/v − 1) · (m, 1 − m). Then
    A = (r − p) · min(1 / f(p; α, β), max_weight), with f the density of Beta(α, β), α = max(1, 1 + a/3) and
    β = max(1, 1 + b/3). For α = β = 1 it is the group-centered reward; for α = β = 3/2 the weight is
    proportional to 1/√(p·(1 − p)), as in GRPO. One question, or questions of equal p, have v = 0: weight 1.

    Args:
        reward: reward of each rollout in [low, high] [*question, group]; the Beta is fitted over all leading axes,
            which should be those of the global batch.
        low: least reward.
        high: largest reward.
        where: boolean mask, True where a rollout counts; a question without one is left out of the fit.
        axis: static; the group axis.
        max_weight: largest weight 1 / f.

    Returns:
        Advantages of the same shape, without gradient, 0 where masked. Several rewards are normalized one by one
        and the advantages averaged.

    Raises:
        ValueError: if `reward` is not floating, `where` not boolean, or their shapes do not fit.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import returns
        >>> reward = jnp.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
        >>> print(np.asarray(returns.beta_normalized(reward)).round(3))
        [[ 0.742 -0.247 -0.247 -0.247]
         [ 0.469  0.469 -0.469 -0.469]
         [ 0.     0.     0.     0.   ]]

    References:
        Xiao et al., 2025, "BNPO: Beta Normalization Policy Optimization", arXiv:2506.02864.
    """
    (kept,) = lax.stop_gradient(elements(reward=reward, where=where))
    # Densities of bfloat16 rewards are taken in float32.
    wide = kept.astype(jnp.promote_types(kept.dtype, jnp.float32))
    low, high, max_weight = like(wide, low, high, max_weight)
    mask = jnp.broadcast_to(True if where is None else where, wide.shape)
    outcome = jnp.where(mask, (wide - low) / (high - low), 0)
    rate = jnp.expand_dims(mean(outcome, where=mask, axis=axis), axis)
    weight = jnp.minimum(_inverse_density(rate, jnp.any(mask, axis, keepdims=True)), max_weight)
    return jnp.where(mask, (outcome - rate) * weight, 0).astype(kept.dtype)


def _inverse_density(rate: Array, valid: Array) -> Array:
    """1 / f at each rate, of the Beta that has a third of the moments' counts; 1 where the rates do not differ."""
    average = mean(rate, where=valid)
    count = jnp.sum(valid)
    variance = jnp.sum(jnp.square(rate - average), where=valid) / jnp.maximum(count - 1, 1)
    # Equal rates that were summed in different orders differ by rounding alone.
    spread = variance > jnp.square(8 * jnp.finfo(rate.dtype).eps)
    counts = average * (1 - average) / jnp.where(spread, variance, 1) - 1
    alpha, beta = jnp.maximum(1 + counts * average / 3, 1), jnp.maximum(1 + counts * (1 - average) / 3, 1)
    inside = jnp.clip(rate, 0, 1)
    log_density = xlogy(alpha - 1, inside) + xlog1py(beta - 1, -inside) - betaln(alpha, beta)
    return jnp.where(spread, jnp.exp(-log_density), 1)
