"""Training as pure functions: a source gives experience, a learner learns from it, an evaluator says how well it does.

`make_program` puts the three together, whatever is learned from what. Notebooks `vmap` the program, `rlx.training.fit`
adds what a person needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from rlx.algorithms.learner import Learner

Metrics = dict[str, Array]

BY_RUN, BY_ENV, REPLAY = "by_run", "by_env", "replay"
"""What a part of a source's state is, for whoever lays it out or saves it: `BY_ENV` has a leading axis of environments,
which may be spread over devices; `REPLAY` is past experience, large, and whole on every device of its run, since
minibatches are drawn from all of it; `BY_RUN` is anything else."""


class Source(NamedTuple):
    """Where a learner's experience comes from: environments, a replay, a dataset, a model's own responses …

    One step of a program collects once, and then takes `updates` updates, each on a batch that is drawn anew.

    Attributes:
        example: `key -> batch`, the first argument of `learner.init`; shapes matter alone.
        init: `(key, learner_state) -> (state, learner_state)`. What is experienced on the way (random steps that fill
            a replay) may already be observed by the learner.
        collect: `(state, learner_state, key) -> (state, fresh, metrics)`: new experience; None from a dataset.
        draw: `(state, fresh, key) -> batch` that one update learns from; None where what was collected is the batch.
        updates: updates of a step; one where nothing is drawn (static).
        layout: tree prefix of the state, made of `BY_RUN`, `BY_ENV` and `REPLAY`.
        each: what was collected has a leading axis `[update]`, and each update draws from its own part of it (static).
    """

    example: Callable[[PRNGKeyArray], PyTree]
    init: Callable[[PRNGKeyArray, PyTree], tuple[PyTree, PyTree]]
    collect: Callable[[PyTree, PyTree, PRNGKeyArray], tuple[PyTree, PyTree, Metrics]]
    draw: Callable[[PyTree, PyTree, PRNGKeyArray], PyTree] | None = None
    updates: int = 1
    layout: PyTree = BY_RUN
    each: bool = False


class TrainState(NamedTuple):
    """The whole of a run, whatever it learns from: saved and restored, it goes on bit for bit.

    Attributes:
        learner: state of the learner.
        source: state of the source.
        key: random key.
        update: steps of the program done.
    """

    learner: PyTree
    source: PyTree
    key: PRNGKeyArray
    update: Int[Array, ""]

    @property
    def params(self) -> PyTree:
        """The learner's parameters."""
        return self.learner.params


class Program(NamedTuple):
    """A run as pure functions.

    Attributes:
        init: `key -> TrainState`.
        step: `TrainState -> (TrainState, metrics)`: collect once, learn.
        evaluate: `(TrainState, key) -> metrics`.
        layout: what the leaves of the state are, a tree prefix as of a `Source`.
    """

    init: Callable[[PRNGKeyArray], TrainState]
    step: Callable[[TrainState], tuple[TrainState, Metrics]]
    evaluate: Callable[[TrainState, PRNGKeyArray], Metrics]
    layout: TrainState = TrainState(BY_RUN, BY_RUN, BY_RUN, BY_RUN)


def make_program(
    source: Source, learner: Learner, evaluate: Callable[[PyTree, PRNGKeyArray], Metrics] = lambda state, key: {}
) -> Program:
    """The program of a learner and what it learns from.

    Args:
        source: experience.
        learner: the algorithm.
        evaluate: `(learner_state, key) -> metrics`, such as `rlx.training.evaluation.episodes` makes.
    """

    def init(key: PRNGKeyArray) -> TrainState:
        source_key, learner_key, key = jax.random.split(key, 3)
        learner_state = learner.init(learner_key, source.example(source_key))
        source_state, learner_state = source.init(source_key, learner_state)
        return TrainState(learner_state, source_state, key, jnp.zeros((), jnp.int32))

    def step(state: TrainState) -> tuple[TrainState, Metrics]:
        key, collect_key, update_key = jax.random.split(state.key, 3)
        source_state, fresh, metrics = source.collect(state.source, state.learner, collect_key)
        learner_state = learner.observe(state.learner, fresh)

        def update(learner_state: PyTree, key_and_part: tuple) -> tuple[PyTree, Metrics]:
            key, part = key_and_part
            draw_key, key = jax.random.split(key)
            batch = source.draw(source_state, part if source.each else fresh, draw_key)
            return learner.update(learner_state, batch, key)

        if source.draw is None:
            learner_state, learned = learner.update(learner_state, fresh, update_key)
        else:
            keys, parts = jax.random.split(update_key, source.updates), fresh if source.each else None
            learner_state, learned = jax.lax.scan(update, learner_state, (keys, parts))
            learned = jax.tree.map(jnp.mean, learned)
        return TrainState(learner_state, source_state, key, state.update + 1), metrics | learned

    return Program(
        init=init,
        step=step,
        evaluate=lambda state, key: evaluate(state.learner, key),
        layout=TrainState(BY_RUN, source.layout, BY_RUN, BY_RUN),
    )


def make_train(program: Program, num_updates: int) -> Callable[[PRNGKeyArray], tuple[TrainState, Metrics]]:
    """A whole run as one pure function `train(key) -> (state, metrics)`, metrics `[update]`; jit and vmap it."""

    def train(key: PRNGKeyArray) -> tuple[TrainState, Metrics]:
        return jax.lax.scan(lambda state, _: program.step(state), program.init(key), length=num_updates)

    return train


def check_counts(**counts: int) -> None:
    """Raises `ValueError` unless every count is at least one."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
