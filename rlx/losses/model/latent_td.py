"""Latent prediction along a policy: temporal differences of features instead of rewards."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rlx.losses.value.temporal_difference import squared_td
from rlx.types import elements


def td_latent_prediction(
    prediction: Float[Array, "*#batch feature"],
    next_feature: Float[Array, "*#batch feature"],
    next_prediction: Float[Array, "*#batch feature"],
    discount: Float[Array, "*#batch"],
    *,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """TD-JEPA: squared error of predicted discounted features of the future to their one-step bootstrap.

    L = ‖T(φ(s),z,a) − sg(ψ̄(s') + γ·T̄(φ̄(s'),z,a'))‖², summed over the features, with a' from the policy of z at
    the target features. With γ = 0 it predicts the next feature; with ψ fixed it learns successor features.

    Args:
        prediction: T(φ(s),z,a) [*batch, feature]; carries the gradient, also into the encoder φ.
        next_feature: target encoder's ψ̄(s') [*batch, feature]; a constant.
        next_prediction: target predictor's T̄(φ̄(s'),z,a') [*batch, feature]; a constant.
        discount: γ·(1−termination) [*batch]; a constant.
        where: boolean mask [*batch], True where a transition counts.

    Returns:
        Loss per transition [*batch], 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import model
        >>> prediction, feature, next_prediction = jnp.array([2.0, 1.0]), jnp.array([1.0, 0.0]), jnp.array([2.0, 2.0])
        >>> print(model.td_latent_prediction(prediction, feature, next_prediction, jnp.array(0.5)))
        0.0
        >>> print(model.td_latent_prediction(prediction, feature, next_prediction, jnp.array(0.0)))
        2.0

    References:
        Bagatella et al., 2025, "TD-JEPA: Latent-predictive Representations for Zero-Shot Reinforcement Learning",
        arXiv:2510.00739.
    """
    prediction, next_feature, next_prediction, discount = elements(
        prediction=prediction,
        next_feature=next_feature,
        next_prediction=next_prediction,
        discount=jnp.expand_dims(discount, -1),
        where=where if where is None else jnp.expand_dims(where, -1),
    )
    # Where nothing follows, what a model says of it, perhaps a NaN, must not count.
    following = jnp.where(discount == 0, 0, next_prediction)
    return jnp.sum(squared_td(prediction, next_feature + discount * following), -1)
