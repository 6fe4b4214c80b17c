"""Learners that see observations in units of what was experienced so far."""

from __future__ import annotations

from typing import NamedTuple

import jax
from jaxtyping import Array, PRNGKeyArray, PyTree

from rlx import controllers
from rlx.algorithms.learner import Learner, Transition


class RunningNormalization(NamedTuple):
    """State of a learner and the statistics of what it observes.

    Attributes:
        learner: state of the learner.
        observation_moments: running mean and variance of observations.
    """

    learner: PyTree
    observation_moments: controllers.MomentsState

    @property
    def params(self) -> PyTree:
        """The learner's parameters."""
        return self.learner.params


def with_running_normalization(learner: Learner) -> Learner:
    """An off-policy learner whose observations are normalized by running moments wherever it acts and learns.

    The replay keeps observations as they are: every minibatch is normalized anew, by the moments of all that was
    experienced up to then, so that old and new transitions are in the same units.

    Args:
        learner: the algorithm.

    Returns:
        A `Learner` whose state is a `RunningNormalization`; its `observe` takes in the observations acted on.
    """
    moments = controllers.running_moments()

    def normalized(state: RunningNormalization, observation: PyTree) -> PyTree:
        return controllers.normalize(state.observation_moments, observation)

    def init(key: PRNGKeyArray, example: Transition) -> RunningNormalization:
        one = jax.tree.map(lambda x: x[0], example.observation)
        return RunningNormalization(learner.init(key, example), moments.init(one))

    def act(state: RunningNormalization, observation: PyTree, key: PRNGKeyArray):
        return learner.act(state.learner, normalized(state, observation), key)

    def mode(state: RunningNormalization, observation: PyTree) -> Array:
        return learner.mode(state.learner, normalized(state, observation))

    def update(state: RunningNormalization, batch: Transition, key: PRNGKeyArray):
        batch = batch._replace(
            observation=normalized(state, batch.observation),
            next_observation=normalized(state, batch.next_observation),
        )
        learner_state, metrics = learner.update(state.learner, batch, key)
        return state._replace(learner=learner_state), metrics

    def observe(state: RunningNormalization, transitions: Transition) -> RunningNormalization:
        return RunningNormalization(
            learner=learner.observe(state.learner, transitions),
            observation_moments=controllers.update_moments(state.observation_moments, transitions.observation),
        )

    return learner._replace(init=init, act=act, mode=mode, update=update, observe=observe)
