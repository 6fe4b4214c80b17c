"""Distances between features that are distances between what the states lead to."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, check_broadcast, elements, like


def bisimulation(
    feature: Float[Array, "*#batch feature"],
    other_feature: Float[Array, "*#batch feature"],
    reward: Float[Array, "*#batch"],
    other_reward: Float[Array, "*#batch"],
    next_mean: Float[Array, "*#batch latent"],
    other_next_mean: Float[Array, "*#batch latent"],
    next_scale: Float[Array, "*#batch latent"],
    other_next_scale: Float[Array, "*#batch latent"],
    *,
    discount: Scalar = 0.99,
    order: int = 2,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Squared error of feature distances to the bisimulation distance of a reward and a transition model (DBC).

    J = (‖z − z'‖ − sg(|r̂ − r̂'| + γ·W₂(P̂, P̂')))² for pairs of states (or histories) with their actions, where
    W₂ = √(‖μ − μ'‖² + ‖σ − σ'‖²) is the 2-Wasserstein distance of the predicted next features. Pair a batch with
    a random permutation of itself.

    Args:
        feature: z [*batch, feature]; carries the gradient.
        other_feature: z' of the paired state [*batch, feature]; carries the gradient.
        reward: predicted reward r̂(z, a) [*batch]; a constant.
        other_reward: predicted reward of the paired state [*batch]; a constant.
        next_mean: mean μ of the predicted next feature [*batch, latent]; a constant.
        other_next_mean: mean of the paired state's [*batch, latent]; a constant.
        next_scale: standard deviation σ of the predicted next feature [*batch, latent]; a constant.
        other_next_scale: standard deviation of the paired state's [*batch, latent]; a constant.
        discount: γ, the weight of the next features' distance.
        order: static; 1 or 2, the norm of the feature distance.
        where: boolean mask [*batch], True where a pair counts.

    Returns:
        Loss per pair [*batch], 0 where masked. The gradient of the distance of equal features is 0.

    Raises:
        ValueError: for an order other than 1 and 2, a non-floating array, a non-boolean `where`, or unfitting
            shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.regularizers import representation
        >>> feature, other = jnp.array([[0.0, 0.0]]), jnp.array([[3.0, 4.0]])
        >>> reward, mean, scale = jnp.array([1.0]), jnp.array([[0.0]]), jnp.array([[1.0]])
        >>> model = reward, reward + 2, mean, mean + 2, scale, scale
        >>> print(representation.bisimulation(feature, other, *model, discount=0.5))
        [4.]

    Reconstruction:
        The form for histories rests on the abstract, on a public review that names |r̂ − r̂'| and a distance of
        P̂ and P̂', and on Deep Bisimulation for Control. Open are the norm of the features (L2 here, `order`), the
        discount on the distance of the predictions, their distance itself, and what is held constant.

    References:
        Hong et al., 2023, "Offline RL with Observation Histories: Analyzing and Improving Sample Complexity",
        arXiv:2310.20663.
        Zhang et al., 2021, "Learning Invariant Representations for Reinforcement Learning without
        Reconstruction", arXiv:2006.10742 (Deep Bisimulation for Control).
    """
    if order not in (1, 2):
        raise ValueError(f"order must be 1 or 2, got {order}")
    mask = where if where is None else jnp.expand_dims(where, -1)
    feature, other_feature = elements(feature=feature, other_feature=other_feature, where=mask)
    reward, other_reward = elements(reward=reward, other_reward=other_reward, where=where)
    next_mean, other_next_mean, next_scale, other_next_scale = elements(
        next_mean=next_mean,
        other_next_mean=other_next_mean,
        next_scale=next_scale,
        other_next_scale=other_next_scale,
        where=mask,
    )
    check_broadcast(feature=feature[..., 0], reward=reward, next_mean=next_mean[..., 0])
    (discount,) = like(reward, discount)
    wasserstein = _root(
        jnp.sum(jnp.square(next_mean - other_next_mean) + jnp.square(next_scale - other_next_scale), -1)
    )
    target = jnp.abs(reward - other_reward) + discount * wasserstein
    apart = feature - other_feature
    distance = jnp.sum(jnp.abs(apart), -1) if order == 1 else _root(jnp.sum(jnp.square(apart), -1))
    return jnp.square(distance - lax.stop_gradient(target))


def _root(x: Array) -> Array:
    """The square root, with slope 0 at 0 rather than an infinite one."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)
