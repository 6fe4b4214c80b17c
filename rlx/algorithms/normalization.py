"""Learners that see observations in units of what was experienced, or of what a dataset holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

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


def with_running_normalization(learner: Learner, *, on_policy: bool = False) -> Learner:
    """A learner whose observations are normalized by running moments wherever it acts and learns.

    Floating-point parts of an observation are normalized; what is counted (`Discrete`, pixels of bytes) stays as it is.

    Off-policy, the replay keeps observations as they are: every minibatch is normalized anew, by the moments of all
    that was experienced up to then, so that old and new transitions are in the same units. On-policy, an update uses
    the moments that acted, so that the ratio of its first gradient step is exactly one, and takes in the new
    observations at its end.

    Args:
        learner: the algorithm.
        on_policy: batches are fresh rollouts; otherwise they are drawn from a replay, and what is new comes by
            `observe` (static).

    Returns:
        A `Learner` whose state is a `RunningNormalization`.
    """
    moments = controllers.running_moments()

    def normalized(state: RunningNormalization, observation: PyTree) -> PyTree:
        scaled = controllers.normalize(state.observation_moments, floating_parts(observation))
        return jax.tree.map(lambda x, y: x if y is None else y, observation, scaled)

    def taken_in(state: RunningNormalization, transitions: Transition) -> controllers.MomentsState:
        seen = floating_parts(transitions.observation)
        if not jax.tree.leaves(seen):  # all is counted: there is nothing to normalize
            return state.observation_moments
        return controllers.update_moments(state.observation_moments, seen)

    def init(key: PRNGKeyArray, example: Transition) -> RunningNormalization:
        one = jax.tree.map(lambda x: x[0], example.observation)
        return RunningNormalization(learner.init(key, example), moments.init(floating_parts(one)))

    def act(state: RunningNormalization, observation: PyTree, key: PRNGKeyArray, *memory: PyTree):
        return learner.act(state.learner, normalized(state, observation), key, *memory)

    def mode(state: RunningNormalization, observation: PyTree, *memory: PyTree):
        return learner.mode(state.learner, normalized(state, observation), *memory)

    def log_prob(state: RunningNormalization, observation: PyTree, action: Array) -> Array:
        return learner.log_prob(state.learner, normalized(state, observation), action)

    def update(state: RunningNormalization, batch: Transition, key: PRNGKeyArray):
        seen = batch._replace(
            observation=normalized(state, batch.observation),
            next_observation=normalized(state, batch.next_observation),
        )
        learner_state, metrics = learner.update(state.learner, seen, key)
        observation_moments = taken_in(state, batch) if on_policy else state.observation_moments
        return RunningNormalization(learner_state, observation_moments), metrics

    def observe(state: RunningNormalization, transitions: Transition) -> RunningNormalization:
        return RunningNormalization(
            learner=learner.observe(state.learner, transitions),
            observation_moments=state.observation_moments if on_policy else taken_in(state, transitions),
        )

    return learner._replace(
        init=init,
        act=act,
        mode=mode,
        update=update,
        observe=observe,
        log_prob=None if learner.log_prob is None else log_prob,
    )


def with_fixed_normalization(
    learner: Learner, mean: Float[Array, "*observation"], scale: Float[Array, "*observation"]
) -> Learner:
    """The learner with (observation − mean) / scale for an observation wherever it acts.

    Batches are left alone: those of `rlx.data.normalize_observations`, which gives mean and scale, are normalized.
    Of an observation that is a mapping, such as a history of `rlx.envs.with_history`, its `observation` is.

    Args:
        learner: the algorithm.
        mean: what is subtracted.
        scale: what is divided by.
    """

    def normalized(observation: PyTree) -> PyTree:
        if isinstance(observation, Mapping):
            return {**observation, "observation": normalized(observation["observation"])}
        return (observation - mean) / scale

    def log_prob(state: PyTree, observation: PyTree, action: Array) -> Array:
        return learner.log_prob(state, normalized(observation), action)

    return learner._replace(
        act=lambda state, observation, key: learner.act(state, normalized(observation), key),
        mode=lambda state, observation: learner.mode(state, normalized(observation)),
        log_prob=None if learner.log_prob is None else log_prob,
    )


def floating_parts(observation: PyTree) -> PyTree:
    """The observation with None, which has no leaves, in place of what is not of floating-point numbers."""
    return jax.tree.map(lambda x: x if jnp.issubdtype(x.dtype, jnp.floating) else None, observation)
