"""Regressions that weigh errors of one sign more: values beyond the mean of their targets."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, elements, like


def expectile(
    value: Float[Array, "*#batch"],
    target: Float[Array, "*#batch"],
    *,
    expectile: Scalar = 0.7,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """IQL's expectile loss, whose minimizer is near the maximum of the targets for a high expectile.

    L = |τ − 1[u < 0]|·u², with u = sg(y) − V and τ = `expectile`. τ = ½ is half the squared error.

    Args:
        value: predicted value V [*batch]; carries the gradient.
        target: target y [*batch], in implicit Q-learning the smallest target-critic value of the dataset's
            action; a constant.
        expectile: τ in (0, 1); 0.7 for locomotion, 0.9 where stitching needs optimism.
        where: boolean mask, True where an element counts.

    Returns:
        Loss per element, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import value
        >>> prediction, target = jnp.zeros(2), jnp.array([1.0, -1.0])
        >>> print(np.asarray(value.expectile(prediction, target, expectile=0.9)).round(3))
        [0.9 0.1]

    References:
        Kostrikov, Nair and Levine, 2021, "Offline Reinforcement Learning with Implicit Q-Learning",
        arXiv:2110.06169.
        Newey and Powell, 1987, "Asymmetric Least Squares Estimation and Testing".
    """
    value, target = elements(value=value, target=target, where=where)
    (expectile,) = like(value, expectile)
    error = lax.stop_gradient(target) - value
    return jnp.where(error < 0, 1 - expectile, expectile) * jnp.square(error)
