"""Weights of behavior cloning that grow with the advantage. Results are constants."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from rlx.types import Scalar, check_choice, floating, like


def advantage_weight(
    advantage: Float[Array, "*batch"], *, beta: Scalar = 3.0, max_weight: Scalar = 100.0, kind: str = "exp"
) -> Float[Array, "*batch"]:
    """Weight of a dataset's action by its advantage, for weighted behavior cloning (AWR, AWAC, IQL).

    w = min(exp(β·A), max_weight) (kind "exp"), clip(A, 0, max_weight) ("relu") or 1[A > 0] ("binary").
    "exp" is AWR, AWAC (both β = 1 / λ) and implicit Q-learning; "relu" is O-DICE under the Pearson divergence, on
    residuals; "binary" filters. β = 0 is plain behavior cloning.

    Args:
        advantage: A [*batch], in units of return.
        beta: β, inverse temperature, for "exp".
        max_weight: largest weight, for "exp" and "relu".
        kind: static; "exp", "relu" or "binary".

    Returns:
        Weights [*batch], without gradient.

    Raises:
        ValueError: for an unknown `kind` or a non-floating `advantage`.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import weighting
        >>> advantage = jnp.array([-1.0, 0.0, 1.0, 5.0])
        >>> print(np.asarray(weighting.advantage_weight(advantage, beta=1.0, max_weight=10.0)).round(3))
        [ 0.368  1.     2.718 10.   ]
        >>> print(weighting.advantage_weight(advantage, kind="binary"))
        [0. 0. 1. 1.]

    References:
        Peng et al., 2019, "Advantage-Weighted Regression", arXiv:1910.00177.
        Nair et al., 2020, "AWAC: Accelerating Online Reinforcement Learning with Offline Datasets",
        arXiv:2006.09359.
        Kostrikov, Nair and Levine, 2021, "Offline Reinforcement Learning with Implicit Q-Learning",
        arXiv:2110.06169.
        Mao et al., 2024, "ODICE", arXiv:2402.00348 ("relu").
    """
    check_choice("kind", kind, ("exp", "relu", "binary"))
    (advantage,) = lax.stop_gradient(floating(advantage=advantage))
    beta, max_weight = lax.stop_gradient(like(advantage, beta, max_weight))
    if kind == "binary":
        return (advantage > 0).astype(advantage.dtype)
    # As a constant, exp may overflow: the minimum brings it back, and no gradient 0 · inf is formed.
    return jnp.clip(advantage, 0, max_weight) if kind == "relu" else jnp.minimum(jnp.exp(beta * advantage), max_weight)
