"""Penalties that hold a divergence below a bound."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from rlx.types import Scalar, floating, like


def squared_hinge(
    divergence: Float[Array, "*batch"], *, threshold: Scalar = 1e-4, coefficient: Scalar = 1e3
) -> Float[Array, "*batch"]:
    """Penalty of a divergence above a threshold; below it there is neither value nor gradient (DisCO).

    P = (coefficient / 2) · max(D − threshold, 0)², with the gradient coefficient · max(D − threshold, 0) · ∇D.

    Args:
        divergence: divergence D in nats, most often one number: the mean over all tokens of a minibatch [*batch]. An
            estimate may be negative.
        threshold: largest divergence without penalty.
        coefficient: curvature of the penalty.

    Returns:
        Penalty per element.

    Raises:
        ValueError: if `divergence` is not floating.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.regularizers import divergence
        >>> penalty = divergence.squared_hinge(jnp.array([0.05, 0.3]), threshold=0.1, coefficient=10.0)
        >>> print(np.asarray(penalty).round(3))
        [0.  0.2]

    References:
        Li et al., 2025, "DisCO: Reinforcing Large Reasoning Models with Discriminative Constrained Optimization",
        arXiv:2505.12366.
    """
    (divergence,) = floating(divergence=divergence)
    threshold, coefficient = like(divergence, threshold, coefficient)
    return coefficient / 2 * jnp.square(jnp.maximum(divergence - threshold, 0))
