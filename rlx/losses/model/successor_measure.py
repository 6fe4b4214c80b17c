"""Forward-backward representations: a successor measure that factors into what leads and what is reached."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.linalg import solve_positive
from rlx.types import Scalar, elements, like


def successor_measure(
    forward: Float[Array, "*#ensemble batch z"],
    backward: Float[Array, "*#ensemble batch z"],
    target_forward: Float[Array, "*#targets batch z"],
    target_backward: Float[Array, "*#targets batch z"],
    discount: Float[Array, "batch"],
    *,
    where: Bool[Array, "batch"] | None = None,
) -> Float[Array, "*ensemble batch"]:
    """Forward-backward (FB) loss: temporal-difference error of a factored successor measure, over all pairs of a batch.

    With M_ij = F(s_i,a_i,z_i)·B(s'_j) and M̄_ij the smallest of the target networks' products,
    L_i = −M_ii + ½·mean_{j≠i}(M_ij − sg(γ_i·M̄_ij))². Its minimum is the density, with respect to that of the
    data, of the states to which the policy of z_i leads. Sum over an ensemble of F, average over i.

    Args:
        forward: F(s_i, a_i, z_i) [*ensemble, batch, z]; carries the gradient.
        backward: B(s'_j) of the reached states [*ensemble, batch, z]; carries the gradient.
        target_forward: target network's F at (s'_i, a'_i, z_i) [*targets, batch, z], where the smallest over the
            leading axes is taken of the products; a constant.
        target_backward: target network's B(s'_j) [*targets, batch, z]; a constant.
        discount: γ·(1−termination) of each transition [batch]; a constant.
        where: boolean mask [batch], True where a transition counts, as row and as column.

    Returns:
        Loss per transition [*ensemble, batch], 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import model
        >>> forward, backward = jnp.array([[1.0, 0.0], [1.0, 1.0]]), jnp.eye(2)
        >>> print(model.successor_measure(forward, backward, forward, backward, jnp.array([0.5, 0.5])))
        [-1.    -0.875]

    References:
        Touati & Ollivier, 2021, "Learning One Representation to Optimize All Rewards", arXiv:2103.07945.
        Zheng et al., 2025, "Towards Robust Zero-Shot Reinforcement Learning" (BREEZE).
    """
    per_row = lambda x: x if x is None else jnp.expand_dims(x, -1)
    mask = where
    forward, backward, target_forward, target_backward, discount = elements(
        forward=forward,
        backward=backward,
        target_forward=target_forward,
        target_backward=target_backward,
        discount=per_row(discount),
        where=per_row(where),
    )
    measure = jnp.matmul(forward, jnp.swapaxes(backward, -1, -2), precision=lax.Precision.HIGHEST)
    target = jnp.matmul(target_forward, jnp.swapaxes(target_backward, -1, -2), precision=lax.Precision.HIGHEST)
    # Where nothing follows, what a model says of it, perhaps a NaN, must not count.
    target = jnp.where(discount == 0, 0, discount * jnp.min(target, tuple(range(target.ndim - 2))))
    others = ~jnp.eye(measure.shape[-1], dtype=bool)
    others = others if mask is None else others & mask & mask[:, None]
    errors = jnp.where(others, jnp.square(measure - lax.stop_gradient(target)), 0)
    count = jnp.maximum(jnp.sum(others, -1), 1).astype(errors.dtype)
    return jnp.sum(errors, -1) / (2 * count) - jnp.diagonal(measure, axis1=-2, axis2=-1)


def implied_reward(
    feature: Float[Array, "batch z"],
    z: Float[Array, "*#batch z"],
    *,
    ridge: Scalar = 0.0,
    where: Bool[Array, "batch"] | None = None,
) -> Float[Array, "batch"]:
    """Reward whose task embedding is z in a forward-backward (FB) representation: the policy of z is meant for it.

    r_i = B(s_i)ᵀ·(BᵀB/n + ridge·I)⁻¹·z_i. Then F·z − r_z − γ·V is a Bellman error of the values F·z, in which r_z
    may be stopped: the forward-backward paper's code does, BREEZE's does not.

    Args:
        feature: B(s_i) [batch, z]; carries the gradient.
        z: task embedding, one for all [z] or one for each state [batch, z]; carries the gradient.
        ridge: added to the diagonal: the inverse covariance of a small batch is ill-conditioned.
        where: boolean mask [batch], True where a state counts.

    Returns:
        Reward per state [batch], 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import model
        >>> feature, reward = jnp.array([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]]), jnp.array([1.0, 2.0, 2.0])
        >>> z = (reward[:, None] * feature).mean(0)
        >>> print(np.asarray(model.implied_reward(feature, z)).round(3))
        [1. 2. 2.]

    References:
        Touati & Ollivier, 2021, "Learning One Representation to Optimize All Rewards", arXiv:2103.07945.
        Zheng et al., 2025, "Towards Robust Zero-Shot Reinforcement Learning" (BREEZE).
    """
    mask = where if where is None else jnp.expand_dims(where, -1)
    feature, z = elements(feature=feature, z=z, where=mask)
    (ridge,) = like(feature, ridge)
    wide = jnp.promote_types(feature.dtype, jnp.float32)
    count = len(feature) if where is None else jnp.maximum(jnp.sum(where), 1)
    wide_feature = feature.astype(wide)
    covariance = jnp.matmul(wide_feature.T, wide_feature, precision=lax.Precision.HIGHEST) / count
    covariance = covariance + ridge.astype(wide) * jnp.eye(len(covariance), dtype=wide)
    reward_weight = solve_positive(covariance, jnp.atleast_2d(z).T.astype(wide)).T
    return jnp.sum(wide_feature * reward_weight, -1).astype(feature.dtype)
