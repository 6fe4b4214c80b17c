"""The best part of a dataset."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from rlx.types import Scalar, elements


def top_fraction(
    episode_return: Float[Array, "trajectory"],
    *,
    length: Float[Array, "trajectory"] | None = None,
    fraction: Scalar = 0.1,
) -> Float[Array, "trajectory"]:
    """Probability of one transition of each trajectory, uniform over those of the highest returns (percentage BC).

    p_i = 1[i in best] / Σ_{j in best} length_j, with best the max(⌊n·fraction⌋, 1) trajectories of highest
    return among n, the earlier first among equals. Behavior cloning under it is the percentage BC of Decision
    Transformer.

    Args:
        episode_return: return of each trajectory [trajectory].
        length: number of its transitions [trajectory], floating; None for 1.
        fraction: share of the trajectories that is kept, counted in trajectories and not in transitions.

    Returns:
        Probabilities with Σ length·p = 1 [trajectory], without gradient.

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import weighting
        >>> episode_return, length = jnp.array([3.0, 9.0, 5.0, 1.0]), jnp.array([10.0, 10.0, 30.0, 10.0])
        >>> print(np.asarray(weighting.top_fraction(episode_return, length=length, fraction=0.5)).round(4))
        [0.    0.025 0.025 0.   ]

    References:
        Chen et al., 2021, "Decision Transformer: Reinforcement Learning via Sequence Modeling",
        arXiv:2106.01345.
        Hong et al., 2023, "Harnessing Mixed Offline Reinforcement Learning Datasets via Trajectory
        Weighting", arXiv:2306.13085.
    """
    episode_return, length = lax.stop_gradient(
        elements(episode_return=episode_return, length=1.0 if length is None else length)
    )
    wide = jnp.promote_types(episode_return.dtype, jnp.float32)
    (n,) = episode_return.shape
    # Rounding must not lose a trajectory: 100 · 0.29 is below 29 in binary.
    count = jnp.maximum(jnp.floor(n * jnp.asarray(fraction, wide) * (1 + 1e-6)), 1)
    best = jnp.zeros(n, bool).at[jnp.argsort(-episode_return)].set(jnp.arange(n) < count)
    total = jnp.sum(jnp.where(best, length, 0), dtype=wide)
    return jnp.where(best, 1 / total, 0).astype(episode_return.dtype)
