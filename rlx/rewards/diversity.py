"""How much a rollout differs from the others of its group, and a reward for it. Results are constants."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, check_broadcast, elements, like


def embedding_novelty(embedding: Float[Array, "*batch feature"], *, axis: int = -2) -> Float[Array, "*batch"]:
    """Mean cosine distance of the embedding of each rollout to the others of its group (DSDR).

    D_i = mean_{j≠i} (1 − ẑ_i · ẑ_j) / 2 with ẑ = z / ‖z‖, in [0, 1]: 0 where all are equal, 1 for two opposite
    ones. An embedding of zeros has no direction and the distance 1/2 to all; a group of one has D = 0.

    Args:
        embedding: embedding z of each rollout [*batch, group, feature].
        axis: static; the group axis, which is not the last.

    Returns:
        Distances [*batch, group], without gradient.

    Raises:
        ValueError: if `embedding` is not floating.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import rewards
        >>> print(np.asarray(rewards.embedding_novelty(jnp.array([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0]]))).round(3))
        [0.5 0.5 1. ]

    References:
        Wan et al., 2026, "DSDR: Dual-Scale Diversity Regularization for Exploration in LLM Reasoning",
        arXiv:2602.19895.
    """
    (embedding,) = lax.stop_gradient(elements(embedding=embedding))
    z = embedding.astype(jnp.promote_types(embedding.dtype, jnp.float32))
    # Divided by the largest component first, or else the square of a large or small one leaves the range.
    largest = jnp.max(jnp.abs(z), -1, keepdims=True)
    z = z / jnp.where(largest > 0, largest, 1)
    z = z / jnp.maximum(jnp.sqrt(jnp.sum(jnp.square(z), -1, keepdims=True)), 1)
    others = jnp.sum(z, axis, keepdims=True) - z
    similarity = jnp.sum(z * others, -1)
    count = z.shape[axis] - 1
    return jnp.clip((count - similarity) / (2 * max(count, 1)), 0, 1).astype(embedding.dtype)


def unique_feature_rate(present: Bool[Array, "*batch group feature"]) -> Float[Array, "*batch group"]:
    """Share of the features of each rollout that no other of its group has (DSDR, with formulas as features).

    D_i = |F_i \\ ⋃_{j≠i} F_j| / |F_i|, and 0 where F_i is empty.

    Args:
        present: which features each rollout has [*batch, group, feature].

    Returns:
        Shares in [0, 1] [*batch, group].

    Raises:
        ValueError: if `present` is not boolean.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import rewards
        >>> present = jnp.array([[True, True, False, True], [True, False, False, False]])
        >>> print(np.asarray(rewards.unique_feature_rate(present)).round(3))
        [0.667 0.   ]

    References:
        Wan et al., 2026, "DSDR: Dual-Scale Diversity Regularization for Exploration in LLM Reasoning",
        arXiv:2602.19895.
    """
    if present.dtype != jnp.bool_:
        raise ValueError(
            f"present must be boolean, got dtype {present.dtype}; compare it first, as in present=count > 0"
        )
    unique = present & (jnp.sum(present, -2, keepdims=True) == 1)
    return jnp.sum(unique, -1).astype(float) / jnp.maximum(jnp.sum(present, -1), 1)


def gated_bonus(
    reward: Float[Array, "*#batch"],
    diversity: Float[Array, "*#batch"],
    success: Bool[Array, "*#batch"],
    *,
    coefficient: Scalar = 0.001,
    bound: Scalar = 1.0,
) -> Float[Array, "*batch"]:
    """Reward with a bounded bonus for diversity that only a success earns (DSDR).

    R' = R + coefficient · clip(d, 0, bound) · [success]. An advantage that divides by the standard deviation of
    the group makes the bonus of a group of successes one of unit variance, however small the coefficient.

    Args:
        reward: reward R of each rollout [*batch].
        diversity: diversity d of each rollout [*batch].
        success: which rollouts succeeded [*batch].
        coefficient: weight of the bonus.
        bound: largest diversity that is rewarded.

    Returns:
        Rewards [*batch], without gradient.

    Raises:
        ValueError: for a non-floating array, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import rewards
        >>> reward, diversity = jnp.array([1.0, 0.0]), jnp.array([0.5, 0.5])
        >>> print(np.asarray(rewards.gated_bonus(reward, diversity, reward > 0, coefficient=0.1)).round(3))
        [1.05 0.  ]

    References:
        Wan et al., 2026, "DSDR: Dual-Scale Diversity Regularization for Exploration in LLM Reasoning",
        arXiv:2602.19895.
    """
    check_broadcast(reward=reward, diversity=diversity, success=success)
    reward, diversity = lax.stop_gradient(elements(reward=reward, diversity=diversity))
    coefficient, bound = like(reward, coefficient, bound)
    return reward + jnp.where(success, coefficient * jnp.clip(diversity, 0, bound), 0)
