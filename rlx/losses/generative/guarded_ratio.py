"""Importance ratios of the denoising steps of a generative policy."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import check_broadcast, elements, floating


def normalized_log_ratio(
    log_prob: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    mean: Float[Array, "..."],
    behavior_mean: Float[Array, "..."],
    scale: Float[Array, "*#batch"] | float,
    *,
    event_ndims: int = 1,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """GRPO-Guard's log-ratio of a denoising step, without a Gaussian's drift and step-dependent spread.

    ratio = s · (log π − log π_b + mean_event (μ − μ_b)² / (2s²)), with s = σ_t·√Δt. The added term cancels the
    bias of the log-ratio: at x = μ_b + s·e it is mean_event (e · (μ − μ_b)), of mean 0 and of a variance that does
    not depend on s. The gradient flows through log π and through μ. It takes the place of log_prob, with
    behavior_log_prob 0, in `rlx.losses.policy.clipped_surrogate`, whose clip range is then very small (GRPO-Guard:
    2e-6) and whose loss is divided by Δt > 0 to weigh the steps alike.

    Args:
        log_prob: log-density of the taken step, averaged over the event [*batch]; carries the gradient.
        behavior_log_prob: the same under the policy that generated the data; a constant.
        mean: mean μ of the step [*batch, *event]; carries the gradient.
        behavior_mean: mean μ_b of the step under the policy that generated the data; a constant.
        scale: standard deviation s of the step, per sample or per step; a constant.
        event_ndims: static; number of event axes.
        where: boolean mask [*batch], True where a step counts.

    Returns:
        Log-ratio per step [*batch], 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import generative
        >>> noise, shift, scale = jnp.array([-1.0, 1.0]), jnp.full((2, 1), 0.3), 2.0
        >>> log_prob, behavior_log_prob = -jnp.square(noise - shift[:, 0] / scale) / 2, -jnp.square(noise) / 2
        >>> print(np.asarray(log_prob - behavior_log_prob).round(3))
        [-0.161  0.139]
        >>> ratio = generative.normalized_log_ratio(log_prob, behavior_log_prob, shift, jnp.zeros((2, 1)), scale)
        >>> print(np.asarray(ratio).round(3))
        [-0.3  0.3]

    References:
        Wang et al., 2025, "GRPO-Guard: Mitigating Implicit Over-Optimization in Flow Matching via Regulated
        Clipping", arXiv:2510.22319.
    """
    check_broadcast(mean=mean, behavior_mean=behavior_mean)
    mean, behavior_mean = floating(mean=mean, behavior_mean=behavior_mean)
    shift = mean - lax.stop_gradient(behavior_mean)
    if where is not None:
        shift = jnp.where(jnp.expand_dims(where, tuple(range(-event_ndims, 0))), shift, 0)
    drift = jnp.mean(jnp.square(shift), tuple(range(-event_ndims, 0)))
    log_prob, behavior_log_prob, drift, scale = elements(
        log_prob=log_prob, behavior_log_prob=behavior_log_prob, mean=drift, scale=scale, where=where
    )
    behavior_log_prob, scale = lax.stop_gradient((behavior_log_prob, scale))
    scale = scale if where is None else jnp.where(where, scale, 1)
    return scale * (log_prob - behavior_log_prob) + drift / (2 * scale)
