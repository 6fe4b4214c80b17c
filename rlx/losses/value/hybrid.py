"""Critics fitted to on-policy and to offline data at once."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from rlx.losses.value.temporal_difference import squared_td
from rlx.types import Scalar, elements, like


def hybrid_value(
    online_q: Float[Array, "*#online"],
    online_return: Float[Array, "*#online"],
    offline_q: Float[Array, "*#offline"],
    offline_target: Float[Array, "*#offline"],
    *,
    offline_weight: Scalar = 1.0,
) -> Float[Array, ""]:
    """HNPG's critic loss: Monte-Carlo regression on fresh data plus fitted Q-evaluation on offline data.

    L = mean(Q_on − sg(G))² + offline_weight·mean(Q_off − sg(y))². The two means are apart, so that the weight does
    not depend on the sizes of the batches.

    Args:
        online_q: Q of the on-policy state-actions [*online]; carries the gradient.
        online_return: Monte-Carlo return G from there on [*online]; a constant.
        offline_q: Q of the offline state-actions [*offline]; carries the gradient.
        offline_target: y = r + Q(s', a') with a' from the current policy, the reward alone at the last stage
            [*offline]; a constant.
        offline_weight: weight of the offline data; 0 for an on-policy critic.

    Returns:
        The loss, a scalar.

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import value
        >>> online_q, online_return = jnp.zeros(2), jnp.ones(2)
        >>> offline_q, offline_target = jnp.zeros(5), jnp.full(5, 2.0)
        >>> print(value.hybrid_value(online_q, online_return, offline_q, offline_target))
        5.0
        >>> print(value.hybrid_value(online_q, online_return, offline_q, offline_target, offline_weight=0.0))
        1.0

    References:
        Zhou et al., 2023, "Offline Data Enhanced On-Policy Policy Gradient with Provable Guarantees",
        arXiv:2311.08384.
    """
    online_q, online_return = elements(online_q=online_q, online_return=online_return)
    offline_q, offline_target = elements(offline_q=offline_q, offline_target=offline_target)
    (offline_weight,) = like(online_q, offline_weight)
    online_loss, offline_loss = squared_td(online_q, online_return), squared_td(offline_q, offline_target)
    return jnp.mean(online_loss) + offline_weight * jnp.mean(offline_loss)
