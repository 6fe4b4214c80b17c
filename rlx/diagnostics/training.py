"""Read-only measures of training. Results carry no gradient."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean
from rlx.regularizers.divergence import kl_estimate
from rlx.types import Scalar, elements, like


def explained_variance(
    value: Float[Array, "*#batch"],
    target: Float[Array, "*#batch"],
    *,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, ""]:
    """Share of the targets' variance that the value function explains.

    EV = 1 − Var[G − V] / Var[G]; 1 is perfect, 0 as good as a constant, negative worse. It is 0 for constant
    targets, where there is nothing to explain.

    Args:
        value: predictions V [*batch].
        target: targets G [*batch].
        where: boolean mask, True where an element counts.

    Returns:
        A scalar.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import explained_variance
        >>> target = jnp.array([1.0, 2.0, 4.0, 5.0])
        >>> round(float(explained_variance(jnp.array([1.0, 2.0, 4.0, 4.0]), target)), 3)
        0.925

    References:
        Kvalseth, 1985, "Cautionary Note about R²", The American Statistician 39(4).
    """
    value, target = lax.stop_gradient(elements(value=value, target=target, where=where))
    # Equal targets leave a variance of the order of rounding, never reliably 0.
    rounding = jnp.square(8 * jnp.finfo(target.dtype).eps) * mean(jnp.square(target), where=where)
    total = _variance(target, where)
    constant = total <= rounding
    unexplained = _variance(target - value, where) / jnp.where(constant, 1, total)
    return jnp.where(constant, 0, 1 - unexplained)


def _variance(x: Array, where: Array | None) -> Array:
    return mean(jnp.square(x - mean(x, where=where)), where=where)


def clip_fraction(
    log_prob: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    *,
    clip_low: Scalar = 0.2,
    clip_high: Scalar = 0.2,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, ""]:
    """Share of elements whose probability ratio has left PPO's clip range.

    Mean of [r < 1 − clip_low or r > 1 + clip_high] with r = exp(log_prob − behavior_log_prob).

    Args:
        log_prob: log-probabilities under the policy in training [*batch].
        behavior_log_prob: the same under the policy that generated the data.
        clip_low: as in `rlx.losses.policy.clipped_surrogate`.
        clip_high: as in `rlx.losses.policy.clipped_surrogate`.
        where: boolean mask, True where an element counts.

    Returns:
        A scalar in [0, 1].

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import clip_fraction
        >>> float(clip_fraction(jnp.log(jnp.array([0.7, 1.0, 1.1, 1.5])), jnp.zeros(4)))
        0.5

    References:
        Schulman et al., 2017, "Proximal Policy Optimization Algorithms", arXiv:1707.06347.
    """
    log_prob, behavior_log_prob = lax.stop_gradient(
        elements(log_prob=log_prob, behavior_log_prob=behavior_log_prob, where=where)
    )
    clip_low, clip_high = like(log_prob, clip_low, clip_high)
    ratio = jnp.exp(log_prob - behavior_log_prob)
    outside = (ratio < 1 - clip_low) | (ratio > 1 + clip_high)
    return mean(outside.astype(ratio.dtype), where=where)


def approximate_kl(
    log_prob: Float[Array, "*#batch"],
    behavior_log_prob: Float[Array, "*#batch"],
    *,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, ""]:
    """Estimate of KL(π_b ‖ π), how far an update has moved the policy, from the behavior policy's samples (k3).

    KL ≈ mean of r − 1 − log r with r = π / π_b: the k3 estimator, unbiased and never negative.

    Args:
        log_prob: log-probabilities under the policy in training [*batch].
        behavior_log_prob: the same under the policy that generated the data.
        where: boolean mask, True where an element counts.

    Returns:
        A scalar in nats.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import approximate_kl
        >>> log_prob, behavior_log_prob = jnp.log(jnp.array([[0.5, 0.5], [0.6, 0.4]]))
        >>> round(float(approximate_kl(log_prob, behavior_log_prob)), 3)
        0.021

    References:
        Schulman, 2020, "Approximating KL Divergence".
    """
    log_prob, behavior_log_prob = lax.stop_gradient(
        elements(log_prob=log_prob, behavior_log_prob=behavior_log_prob, where=where)
    )
    return mean(kl_estimate(behavior_log_prob, log_prob, kind="k3"), where=where)


def effective_sample_size(
    log_weight: Float[Array, "..."], *, where: Bool[Array, "..."] | None = None, axis: int = -1
) -> Float[Array, "..."]:
    """Number of equally weighted samples that a weighted sample is worth (ESS).

    ESS = (Σ w)² / Σ w², between 1 and the number of samples, in whatever scale the weights are.

    Args:
        log_weight: log w of each sample [*batch, sample], such as log importance ratios.
        where: boolean mask, True where a sample counts.
        axis: static; the sample axis.

    Returns:
        Effective sample size [*batch]; 0 where no sample counts.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import effective_sample_size
        >>> [round(x, 3) for x in effective_sample_size(jnp.log(jnp.array([[1.0, 1.0], [3.0, 1.0]]))).tolist()]
        [2.0, 1.6]

    References:
        Kish, 1965, "Survey Sampling".
        Kong, 1992, "A Note on Importance Sampling Using Standardized Weights".
    """
    (log_weight,) = lax.stop_gradient(elements(log_weight=log_weight, where=where))
    if where is not None:
        log_weight = jnp.where(where, log_weight, -jnp.inf)
    largest = jnp.max(log_weight, axis, keepdims=True)
    weight = jnp.exp(log_weight - jnp.where(jnp.isneginf(largest), 0, largest))
    squares = jnp.sum(jnp.square(weight), axis)
    return jnp.square(jnp.sum(weight, axis)) / jnp.where(squares == 0, 1, squares)


def data_to_divergence(num_samples: Scalar, kl: Float[Array, "*batch"] | float) -> Float[Array, "*batch"]:
    """Samples collected per nat of policy movement in one collect-update cycle (DDR).

    DDR = num_samples / KL(new policy ‖ behavior policy). Learning stagnates where the policy moves too far
    for the data behind the move, that is, where the ratio is low.

    Args:
        num_samples: number of transitions in the cycle, a Python number or a floating array.
        kl: divergence of the cycle in nats [*batch], positive.

    Returns:
        The ratio [*batch], in transitions per nat; infinite at kl = 0.

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import data_to_divergence
        >>> data_to_divergence(2048, jnp.array([0.01, 0.04])).round().tolist()
        [204800.0, 51200.0]

    References:
        Beukman et al., 2026, "Preventing Learning Stagnation in PPO by Scaling to 1 Million Parallel
        Environments", arXiv:2603.06009.
    """
    num_samples, kl = lax.stop_gradient(elements(num_samples=num_samples, kl=kl))
    return num_samples / kl
