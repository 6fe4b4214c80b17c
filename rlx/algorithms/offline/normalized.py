"""A learner that was trained on normalized observations, acting on observations as they are."""

from __future__ import annotations

from jaxtyping import Array, Float

from rlx.algorithms.learner import Learner


def with_normalized_observations(
    learner: Learner, mean: Float[Array, "*observation"], scale: Float[Array, "*observation"]
) -> Learner:
    """The learner with (observation − mean) / scale for an observation wherever it acts.

    Batches are left alone: those of ``rlx.data.normalize_observations``, which gives mean and scale, are normalized.

    Args:
      learner: the algorithm.
      mean: what is subtracted.
      scale: what is divided by.
    """
    normalized = lambda observation: (observation - mean) / scale
    return learner._replace(
        act=lambda state, observation, key: learner.act(state, normalized(observation), key),
        mode=lambda state, observation: learner.mode(state, normalized(observation)),
    )
