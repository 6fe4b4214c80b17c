"""Divergences between distributions, exact or estimated from samples, in nats."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, check_choice, elements, like

ESTIMATORS = {
    "k1": lambda d: -d,
    "k2": lambda d: jnp.square(d) / 2,
    "k3": lambda d: jnp.expm1(d) - d,
    # Not jnp.abs, whose gradient at 0 is 1: a policy that has not moved would be pushed.
    "abs": lambda d: d * jnp.sign(d),
}


def kl_estimate(
    log_prob: Float[Array, "*#batch"],
    reference_log_prob: Float[Array, "*#batch"],
    *,
    kind: str = "k3",
    where: Bool[Array, "*#batch"] | None = None,
    bound: Scalar | None = None,
) -> Float[Array, "*batch"]:
    """Estimate of the Kullback-Leibler divergence KL(π ‖ π_ref) from one sample of π per element (k1, k2, k3).

    With d = log π_ref − log π: k1 = −d, k2 = d²/2, k3 = exp(d) − d − 1, abs = |d|. k1 and k3 are unbiased in
    value, k3 is never negative; of the gradients through `log_prob` only that of k2 is unbiased.

    Args:
        log_prob: log π of samples drawn from π [*batch]; carries the gradient.
        reference_log_prob: the same under the reference policy; a constant.
        kind: static; "k1", "k2", "k3" or "abs".
        where: boolean mask, True where an element counts.
        bound: largest absolute value, beyond which the gradient is 0; None for no bound.

    Returns:
        Estimate per element in nats, 0 where masked.

    Raises:
        ValueError: for an unknown `kind`, a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.regularizers import divergence
        >>> log_prob, reference_log_prob = jnp.array([-1.0, -2.0]), jnp.array([-2.0, -1.0])
        >>> print(divergence.kl_estimate(log_prob, reference_log_prob, kind="k1"))
        [ 1. -1.]
        >>> print(np.asarray(divergence.kl_estimate(log_prob, reference_log_prob, kind="k3")).round(3))
        [0.368 0.718]

    References:
        Schulman, 2020, "Approximating KL Divergence" (k1, k2, k3).
        Tang and Munos, 2025, "On a few pitfalls in KL divergence gradient estimation for RL",
        arXiv:2506.09477.
    """
    check_choice("kind", kind, tuple(ESTIMATORS))
    log_prob, reference_log_prob = elements(log_prob=log_prob, reference_log_prob=reference_log_prob, where=where)
    estimate = ESTIMATORS[kind](lax.stop_gradient(reference_log_prob) - log_prob)
    if bound is None:
        return estimate
    (bound,) = like(estimate, bound)
    return jnp.clip(estimate, -bound, bound)
