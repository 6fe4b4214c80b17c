"""Diversity of the members of an ensemble."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, check_mask, elements, like


def ensemble_gradient_diversity(
    action_gradient: Float[Array, "..."],
    *,
    axis: int = 0,
    eps: Scalar = 1e-10,
    where: Bool[Array, "..."] | None = None,
) -> Float[Array, "..."]:
    """How much the critics of an ensemble agree on the direction in which a better action lies (EDAC).

    D = (1 / (N − 1)) Σ_{i≠j} u_i·u_j, with u_i = g_i / (‖g_i‖ + eps) and g_i = ∇_a Q_i(s, a) at the dataset's
    action: N for equal directions, 0 for orthogonal ones. Minimized, it spreads the values of actions off the
    data, so that fewer critics are as pessimistic there. Its gradient is a second derivative of the critics.

    Args:
        action_gradient: g [ensemble, *batch, action]; carries the gradient.
        axis: static; the ensemble axis, any but the last.
        eps: added to the norms, for critics that are flat at the start.
        where: boolean mask [*batch], True where an element counts.

    Returns:
        Agreement [*batch], to be minimized, 0 where masked, and 0 for one critic.

    Raises:
        ValueError: for non-floating gradients, a non-boolean `where`, unfitting shapes, or the last axis.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.regularizers import smoothness
        >>> first, second = jnp.array([[1.0, 0.0], [1.0, 0.0]]), jnp.array([[2.0, 0.0], [0.0, 3.0]])
        >>> print(np.asarray(smoothness.ensemble_gradient_diversity(jnp.stack([first, second]))).round(3))
        [2. 0.]

    References:
        An et al., 2021, "Uncertainty-Based Offline Reinforcement Learning with Diversified Q-Ensemble",
        arXiv:2110.01548 (EDAC).
    """
    check_mask(where)
    ndim = jnp.ndim(action_gradient)
    if axis % max(ndim, 1) == ndim - 1:
        raise ValueError(f"axis {axis} is the action axis, the last one of shape {jnp.shape(action_gradient)}")
    mask = None if where is None else jnp.expand_dims(jnp.expand_dims(where, -1), axis % ndim)
    (gradient,) = elements(action_gradient=action_gradient, where=mask)
    (eps,) = like(gradient, eps)
    squared = jnp.sum(jnp.square(gradient), -1, keepdims=True)
    flat = squared == 0
    norm = jnp.where(flat, 0, jnp.sqrt(jnp.where(flat, 1, squared)))  # The root has no slope at 0.
    direction = gradient / (norm + eps)
    # Over all pairs less the pairs of one with itself: [*batch, action] in place of [N, N, *batch].
    total = jnp.sum(jnp.square(jnp.sum(direction, axis)), -1)
    own = jnp.sum(jnp.square(direction), (axis % ndim, ndim - 1))
    return (total - own) / max(gradient.shape[axis] - 1, 1)
