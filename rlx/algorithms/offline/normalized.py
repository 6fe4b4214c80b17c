"""A learner that was trained on normalized observations, acting on observations as they are."""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Array, Float, PyTree

from rlx.algorithms.learner import Learner


def with_normalized_observations(
    learner: Learner, mean: Float[Array, "*observation"], scale: Float[Array, "*observation"]
) -> Learner:
    """The learner with (observation − mean) / scale for an observation wherever it acts.

    Batches are left alone: those of `rlx.data.normalize_observations`, which gives mean and scale, are normalized.
    Of an observation that is a mapping, such as a history of `envs.with_history`, its `observation` is.

    Args:
        learner: the algorithm.
        mean: what is subtracted.
        scale: what is divided by.
    """

    def normalized(observation: PyTree) -> PyTree:
        if isinstance(observation, Mapping):
            return {**observation, "observation": normalized(observation["observation"])}
        return (observation - mean) / scale

    return learner._replace(
        act=lambda state, observation, key: learner.act(state, normalized(observation), key),
        mode=lambda state, observation: learner.mode(state, normalized(observation)),
    )
