"""How often to draw the transitions of good trajectories."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rlx.data.dataset import Dataset, DatasetError
from rlx.weighting.fraction import top_fraction
from rlx.weighting.trajectories import trajectory_weight

KINDS = ("uniform", "return", "advantage", "top")


def row_weight(
    dataset: Dataset, kind: str = "return", *, temperature: float = 0.1, fraction: float = 0.1
) -> Float[np.ndarray, " row"]:
    """Probability of each transition, by how good its trajectory is: what `sample` takes as a weight.

    "return" (RW) weighs by `rlx.weighting.trajectory_weight`; "advantage" (AW) likewise, by how much the return exceeds
    what a linear least-squares fit (with intercept) expects of the first observation; "top" draws uniformly from the
    best `fraction` of the trajectories, "uniform" from all. It is computed once, outside of compiled functions, and
    composes with any learner.

    Args:
        dataset: the transitions; a trajectory is an episode.
        kind: "uniform", "return", "advantage" or "top".
        temperature: α of the two softmaxes.
        fraction: of "top", counted in trajectories.

    Returns:
        Probabilities that sum to 1 [row].

    Raises:
        DatasetError: for an unknown `kind`.

    References:
        Hong et al., 2023, "Harnessing Mixed Offline Reinforcement Learning Datasets via Trajectory Weighting",
        arXiv:2306.13085.
    """
    if kind not in KINDS:
        raise DatasetError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}")
    if kind == "uniform":
        return np.full(dataset.num_rows, 1 / dataset.num_rows)
    returns, length = dataset.episode_return, dataset.episode_length.astype(dataset.reward.dtype)
    if kind == "top":
        per_episode = top_fraction(returns, length=length, fraction=fraction)
    else:
        baseline = _expected_return(dataset) if kind == "advantage" else 0.0
        per_episode = trajectory_weight(returns, length=length, baseline=baseline, temperature=temperature)
    return np.asarray(per_episode)[np.asarray(dataset.episode_number)]


def _expected_return(dataset: Dataset) -> Array:
    first = np.asarray(dataset.observation)[np.asarray(dataset.episode_start)]
    features = np.concatenate([first.reshape(len(first), -1), np.ones((len(first), 1))], -1).astype(np.float64)
    returns = np.asarray(dataset.episode_return, np.float64)
    solution, *_ = np.linalg.lstsq(features, returns, rcond=None)
    return jnp.asarray(features @ solution, dataset.reward.dtype)
