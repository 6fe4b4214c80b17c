"""Training from a dataset: one step is many gradient steps, and no environment is asked but to evaluate."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from rlx import data
from rlx.algorithms.learner import Learner, Transition
from rlx.training import loop
from rlx.training.loop import Program
from rlx.training.replay import check_updates


class OfflineState(NamedTuple):
    """The whole of a run but its data: saved and restored, it goes on bit for bit.

    Attributes:
        learner: state of the learner.
        key: random key.
        update: updates done.
    """

    learner: PyTree
    key: PRNGKeyArray
    update: Int[Array, ""]

    @property
    def params(self) -> PyTree:
        """The learner's parameters."""
        return self.learner.params


def make_program(
    dataset: data.Dataset,
    learner: Learner,
    *,
    environment: loop.Environment,
    batch_size: int = 256,
    updates_per_step: int = 1000,
    sampler: Callable[[PyTree, PRNGKeyArray, int], NamedTuple] = data.sample,
    eval_episodes: int = 10,
    max_eval_steps: int | None = None,
) -> Program:
    """The program of a learner from a dataset.

    Pass a large dataset through `rlx.training.compiled.WithData`, or as an argument of your own jitted function: an
    array that a compiled function closes over becomes a constant in it.

    Args:
        dataset: what the sampler draws from.
        learner: the algorithm.
        environment: where evaluations take place.
        batch_size: transitions of a minibatch.
        updates_per_step: gradient steps of a program step; a multiple of `learner.minibatches`.
        sampler: `(dataset, key, count) -> batch` with the fields of `Transition`, such as `rlx.data.sample`.
        eval_episodes: episodes of each kind (deterministic, stochastic) in an evaluation.
        max_eval_steps: where an evaluation cuts an episode; the default is the environment's own limit.

    Raises:
        ValueError: a count below one; gradient steps that the learner cannot take in whole updates.
    """
    for name, count in dict(
        batch_size=batch_size, updates_per_step=updates_per_step, eval_episodes=eval_episodes
    ).items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    check_updates(learner, updates_per_step)

    def draw(key: PRNGKeyArray, count: int) -> Transition:
        return Transition(**sampler(dataset, key, count)._asdict())

    def init(key: PRNGKeyArray) -> OfflineState:
        learner_key, example_key, key = jax.random.split(key, 3)
        return OfflineState(learner.init(learner_key, draw(example_key, 1)), key, jnp.zeros((), jnp.int32))

    def step(state: OfflineState) -> tuple[OfflineState, dict[str, Array]]:
        def update(learner_state: PyTree, key: PRNGKeyArray):
            sample_key, update_key = jax.random.split(key)
            batch = draw(sample_key, learner.minibatches * batch_size)
            return learner.update(learner_state, batch, update_key)

        key, updates_key = jax.random.split(state.key)
        keys = jax.random.split(updates_key, updates_per_step // learner.minibatches)
        learner_state, metrics = jax.lax.scan(update, state.learner, keys)
        return OfflineState(learner_state, key, state.update + 1), jax.tree.map(jnp.mean, metrics)

    def evaluate(state: OfflineState, key: PRNGKeyArray) -> dict[str, Array]:
        return loop.evaluate_policy(
            environment, learner, state.learner, key, num_episodes=eval_episodes, max_steps=max_eval_steps
        )

    return Program(init, step, evaluate)
