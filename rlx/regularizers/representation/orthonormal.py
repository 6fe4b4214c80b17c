"""Features that span their space: a penalty on their second moment."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import check_mask, elements


def orthonormality(
    features: Float[Array, "batch feature"], *, where: Bool[Array, "batch"] | None = None
) -> Float[Array, "batch"]:
    """Penalty that makes the second moment of features the identity, without bias from a batch (FB, TD-JEPA).

    L_i = −2·‖b_i‖² + mean_{j≠i} (b_i·b_j)², whose mean estimates ‖E[b bᵀ] − I‖² up to a constant: smallest where
    the features are uncorrelated and of unit second moment. Forward-backward representations use it on the
    backward features; half of it is TD-JEPA's term.

    Args:
        features: b [batch, feature]; carries the gradient, in each row through all rows.
        where: boolean mask [batch], True where a row counts.

    Returns:
        Penalty per row [batch], 0 where masked. A single row has no second part.

    Raises:
        ValueError: for non-floating features, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.regularizers import representation
        >>> print(representation.orthonormality(jnp.array([[1.0, 0.0], [0.0, 1.0]])))
        [-2. -2.]
        >>> print(representation.orthonormality(jnp.array([[1.0, 0.0], [1.0, 0.0]])))
        [-1. -1.]

    References:
        Touati and Ollivier, 2021, "Learning One Representation to Optimize All Rewards", arXiv:2103.07945.
        Bagatella et al., 2025, "TD-JEPA: Latent-predictive Representations for Zero-Shot Reinforcement
        Learning", arXiv:2510.00739.
    """
    check_mask(where)
    (features,) = elements(features=features, where=None if where is None else jnp.expand_dims(where, -1))
    n = len(features)
    wide = jnp.promote_types(features.dtype, jnp.float32)
    count = jnp.asarray(n if where is None else jnp.sum(where), wide)
    gram = jnp.matmul(features, features.T, preferred_element_type=wide, precision=lax.Precision.HIGHEST)
    others = jnp.sum(jnp.square(jnp.where(jnp.eye(n, dtype=bool), 0, gram)), -1) / jnp.maximum(count - 1, 1)
    return (others - 2 * jnp.diagonal(gram)).astype(features.dtype)
