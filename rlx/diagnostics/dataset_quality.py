"""What an offline dataset is worth, before anything is trained on it. Results carry no gradient."""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Num

from rlx.diagnostics.score import normalized_score
from rlx.reduce import mean
from rlx.types import Scalar, elements, floating


def positive_sided_variance(
    episode_return: Float[Array, "..."], *, axis: int = -1, where: Bool[Array, "..."] | None = None
) -> Float[Array, "..."]:
    """Variance of returns on the side above their mean: what weighting trajectories can gain (PSV).

    PSV = mean_i max(G_i − mean G, 0)². It is large where few trajectories are much better than the rest, and
    small where a dataset is all alike, good or bad.

    Args:
        episode_return: return G of each trajectory [*batch, trajectory].
        axis: static; the trajectory axis.
        where: boolean mask, True where a trajectory counts.

    Returns:
        The variance [*batch], without gradient; 0 where no trajectory counts.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import positive_sided_variance
        >>> positive_sided_variance(jnp.array([[0.0, 0.0, 0.0, 4.0], [0.0, 4.0, 4.0, 4.0]])).tolist()
        [2.25, 0.75]

    References:
        Hong et al., 2023, "Harnessing Mixed Offline Reinforcement Learning Datasets via Trajectory Weighting",
        arXiv:2306.13085.
    """
    (episode_return,) = lax.stop_gradient(elements(episode_return=episode_return, where=where))
    center = jnp.expand_dims(mean(episode_return, where=where, axis=axis), axis)
    return mean(jnp.square(jnp.maximum(episode_return - center, 0)), where=where, axis=axis)


def trajectory_quality(
    episode_return: Float[Array, "*batch"],
    *,
    minimum: Scalar,
    maximum: Scalar,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, ""]:
    """Mean return of a dataset between that of a random and of the best policy: what cloning it may reach (TQ).

    TQ = (mean G − minimum) / (maximum − minimum).

    Args:
        episode_return: undiscounted return G of each trajectory [*batch].
        minimum: mean return of a uniformly random policy.
        maximum: best return of the online policy that made the data, or an expert's.
        where: boolean mask, True where a trajectory counts.

    Returns:
        A scalar, without gradient: 0 for random data, above 1 for data better than `maximum`.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import trajectory_quality
        >>> float(trajectory_quality(jnp.array([10.0, 30.0]), minimum=0.0, maximum=40.0))
        0.5

    References:
        Schweighofer et al., 2021, "A Dataset Perspective on Offline Reinforcement Learning", arXiv:2111.04714.
    """
    (episode_return,) = elements(episode_return=episode_return, where=where)
    return normalized_score(mean(episode_return, where=where), minimum=minimum, maximum=maximum) / 100


def unique_state_action(
    observation: Float[Array, "num *observation"],
    action: Num[Array, "num *action"],
    *,
    bins: int = 100,
    low: Float[Array, "..."] | float | None = None,
    high: Float[Array, "..."] | float | None = None,
) -> Int[Array, ""]:
    """Number of distinct state-action pairs of a dataset, each feature counted in bins (SACo).

    u = |{(bin(s_i), bin(a_i))}|, where bin(x) = Σ_k 1[x ≥ e_k] over `bins` edges e equally spaced from the smallest
    to the largest value, which is a bin by itself. Rows are compared by hashes of 64 bits: of n distinct ones
    about n²/2⁶⁵ are lost.

    Args:
        observation: states [num, *observation], any number of features.
        action: actions [num, *action], numbers of discrete ones or real vectors.
        bins: static; number of edges.
        low: smallest value of each feature, those of the observation before those of the action, or of all;
            the data's if None. Datasets can only be compared with the same limits.
        high: largest value, likewise.

    Returns:
        The number, a scalar.

    Raises:
        ValueError: for different numbers of observations and actions, or non-floating observations.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import unique_state_action
        >>> observation, action = jnp.array([[0.0], [0.0], [1.0], [0.01]]), jnp.array([0, 1, 1, 0])
        >>> int(unique_state_action(observation, action, bins=10))  # the last row is in the bins of the first
        3

    References:
        Schweighofer et al., 2021, "A Dataset Perspective on Offline Reinforcement Learning", arXiv:2111.04714
        (which counts by HyperLogLog).
    """
    num = len(observation)
    if len(action) != num:
        raise ValueError(f"observation and action must have equally many rows, got {num} and {len(action)}")
    (observation,) = floating(observation=observation)
    rows = [jnp.reshape(x, (num, math.prod(x.shape[1:]))).astype(observation.dtype) for x in (observation, action)]
    features = lax.stop_gradient(jnp.concatenate(rows, -1).T)
    span = lambda limit, extreme: jnp.broadcast_to(extreme(features, -1) if limit is None else limit, len(features))
    edges = jnp.linspace(span(low, jnp.min), span(high, jnp.max), bins, axis=-1)
    binned = jax.vmap(lambda e, x: jnp.searchsorted(e, x, side="right"))(edges, features).astype(jnp.uint32)
    column = jnp.arange(len(features), dtype=jnp.uint32)[:, None]
    hashes = [
        jnp.sum(_mix(binned ^ _mix(column + jnp.uint32(seed))), 0, dtype=jnp.uint32)
        for seed in (0x9E3779B9, 0x7F4A7C15)
    ]
    first, second = lax.sort(hashes, num_keys=2)
    changes = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return jnp.sum(changes) + min(num, 1)


def _mix(x: Array) -> Array:
    """Murmur's finalizer: of a 32-bit number, one in which every bit depends on all of them."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def state_action_coverage(
    num_unique: Num[Array, "*batch"] | Scalar,
    *,
    reference: Num[Array, "*#batch"] | Scalar,
    logarithmic: bool = False,
) -> Float[Array, "*batch"]:
    """State-action pairs of a dataset relative to those that the online run saw: what it explores (SACo).

    SACo = u / u_ref, or its logarithmic form log u / log u_ref.

    Args:
        num_unique: number u of distinct state-action pairs [*batch], from `unique_state_action`.
        reference: number of them in the replay data of the online run, at the same size of the dataset.
        logarithmic: static; whether logarithms are compared.

    Returns:
        Coverage [*batch], without gradient: 1 for the reference itself; it may be above 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import state_action_coverage
        >>> state_action_coverage(jnp.array([500, 1000]), reference=1000).tolist()
        [0.5, 1.0]

    References:
        Schweighofer et al., 2021, "A Dataset Perspective on Offline Reinforcement Learning", arXiv:2111.04714.
    """
    num_unique, reference = (lax.stop_gradient(jnp.asarray(x, float)) for x in (num_unique, reference))
    return jnp.log(num_unique) / jnp.log(reference) if logarithmic else num_unique / reference
