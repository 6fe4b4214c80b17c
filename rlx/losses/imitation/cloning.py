"""Imitation of the actions in the data."""

from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import elements


def behavior_cloning(
    log_prob: Float[Array, "*#batch"],
    *,
    weight: Float[Array, "*#batch"] | None = None,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Behavior cloning (BC), by weights also AWR: negative log-likelihood of the dataset's actions.

    L = −sg(w)·log π(a|s). The weight makes it a method: 1 is behavior cloning,
    `rlx.weighting.advantage_weight` gives AWR, AWAC, implicit Q-learning and the policy step of O-DICE,
    `rlx.weighting.top_fraction` percentage BC. A deterministic policy has
    `rlx.regularizers.behavior.action_distance` in its place.

    Args:
        log_prob: log π(a|s) of the dataset's actions [*batch]; carries the gradient.
        weight: w [*batch]; a constant. None for 1.
        where: boolean mask, True where an element counts.

    Returns:
        Loss per element, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import imitation
        >>> log_prob = jnp.array([-1.0, -2.0, -3.0])
        >>> print(imitation.behavior_cloning(log_prob, weight=jnp.array([1.0, 0.5, 2.0])))
        [1. 1. 6.]

    References:
        Pomerleau, 1991, "Efficient Training of Artificial Neural Networks for Autonomous Navigation".
        Peng et al., 2019, "Advantage-Weighted Regression", arXiv:1910.00177.
    """
    log_prob, weight = elements(log_prob=log_prob, weight=1.0 if weight is None else weight, where=where)
    return -lax.stop_gradient(weight) * log_prob
