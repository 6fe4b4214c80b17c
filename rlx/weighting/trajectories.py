"""Which trajectories of a dataset of mixed quality are drawn how often."""

import jax.numpy as jnp
from jax import lax
from jax.nn import logsumexp
from jaxtyping import Array, Bool, Float, Num

from rlx.types import Scalar, elements, like


def trajectory_weight(
    episode_return: Float[Array, "*#batch"],
    *,
    length: Num[Array, "*#batch"] | None = None,
    baseline: Float[Array, "*#batch"] | float = 0.0,
    temperature: Scalar = 0.1,
    rescale: bool = True,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Probability with which a transition of each trajectory is drawn, higher for better trajectories (RW, AW).

    p_i = exp(x_i/α) / Σ_j T_j·exp(x_j/α), with x = G − baseline, rescaled to [0, 1] over the trajectories. So
    Σ T_i·p_i = 1: of two equally good trajectories the longer is drawn more often. Baseline 0 weighs by return
    (RW); V(s_{i,0}), a least-squares fit of G on the first states, weighs by advantage (AW), for starts from
    which the returns differ. Where all trajectories are equally good the draw is uniform over transitions. The
    normalization reads the returns several times.

    Args:
        episode_return: undiscounted return G of each trajectory [*batch, trajectory].
        length: number T of transitions of each [*batch, trajectory]; 1 if None.
        baseline: return expected from the first state of each [*batch, trajectory].
        temperature: α; towards 0 only the best trajectory is drawn, towards infinity all transitions alike.
        rescale: static; whether x is brought to [0, 1], which makes the temperature independent of the scale of
            the rewards.
        where: boolean mask, True where a trajectory counts.

    Returns:
        Probability per transition [*batch, trajectory], without gradient, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import weighting
        >>> print(np.asarray(weighting.trajectory_weight(jnp.array([0.0, 50.0, 100.0]), temperature=0.5)).round(3))
        [0.09  0.245 0.665]

    References:
        Hong et al., 2023, "Harnessing Mixed Offline Reinforcement Learning Datasets via Trajectory Weighting",
        arXiv:2306.13085.
    """
    length = 1.0 if length is None else jnp.asarray(length, jnp.result_type(episode_return))
    temperature, baseline = like(jnp.asarray(episode_return), temperature, baseline)
    episode_return, baseline, length = lax.stop_gradient(
        elements(episode_return=episode_return, baseline=baseline, length=length, where=where)
    )
    counts = jnp.broadcast_to(True if where is None else where, episode_return.shape)
    quality = episode_return - baseline
    best = jnp.max(quality, -1, keepdims=True, where=counts, initial=-jnp.inf)
    quality = jnp.where(counts, quality - best, 0)  # at most 0: exp(x/α) overflows at a low temperature
    if rescale:
        spread = -jnp.min(quality, -1, keepdims=True)
        quality = quality / jnp.where(spread > 0, spread, 1)
    log_weight = jnp.where(counts, quality / temperature, -jnp.inf)
    total = logsumexp(log_weight, -1, b=jnp.broadcast_to(length, log_weight.shape), keepdims=True)
    return jnp.where(counts, jnp.exp(log_weight - total), 0)
