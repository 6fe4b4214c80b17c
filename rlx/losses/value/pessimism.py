"""Pessimism in the face of an ensemble that disagrees."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from rlx.types import Scalar, floating, like


def ensemble_pessimism(x: Float[Array, "..."], *, penalty: Scalar = 0.0, axis: int = 0) -> Float[Array, "..."]:
    """Ensemble mean, less a multiple of how far the members are apart (TD-JEPA).

    P(x) = mean_i x_i − penalty·mean_{i≠j} |x_i − x_j|, over ordered pairs. Of two members, penalty 0.5 is their
    minimum. One member has no pairs.

    Args:
        x: values or features of the members [ensemble, *batch]; carries the gradient.
        penalty: weight of the disagreement; 0 for the mean.
        axis: static; the ensemble axis.

    Returns:
        Pessimistic values, with the ensemble axis removed.

    Raises:
        ValueError: if `x` is not floating.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import value
        >>> x = jnp.array([[1.0, 2.0], [3.0, 2.0]])
        >>> print(value.ensemble_pessimism(x), value.ensemble_pessimism(x, penalty=0.5))
        [2. 2.] [1. 2.]

    References:
        Bagatella et al., 2025, "TD-JEPA: Latent-predictive Representations for Zero-Shot Reinforcement Learning",
        arXiv:2510.00739 (its released code).
    """
    (x,) = floating(x=x)
    (penalty,) = like(x, penalty)
    members = jnp.moveaxis(x, axis, -1)
    n = members.shape[-1]
    # The k-th smallest is above k members and below n − 1 − k: sorting makes n² differences a weighted sum.
    times_above = 2 * jnp.arange(n, dtype=x.dtype) - (n - 1)
    spread = 2 * jnp.sum(jnp.sort(members, -1) * times_above, -1) / max(n * (n - 1), 1)
    return jnp.mean(members, -1) - penalty * spread
