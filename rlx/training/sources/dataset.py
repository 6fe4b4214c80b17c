"""Experience of others: one step of a program is many gradient steps on draws from a dataset."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import PRNGKeyArray, PyTree

from rlx import data
from rlx.algorithms.learner import Learner, Transition
from rlx.training.program import Source, check_counts
from rlx.training.sources.replay import whole_updates


def dataset(
    rows: PyTree,
    learner: Learner,
    *,
    batch_size: int = 256,
    updates_per_step: int = 1000,
    sampler: Callable[[PyTree, PRNGKeyArray, int], NamedTuple] = data.sample,
) -> Source:
    """Minibatches of a dataset.

    Pass a large dataset as an argument of your own jitted function (or through `rlx.training.compiled.WithData`): an
    array that a compiled function closes over becomes a constant in it.

    Args:
        rows: what the sampler draws from, such as an `rlx.data.Dataset`.
        learner: how many minibatches its update takes.
        batch_size: transitions of a minibatch.
        updates_per_step: gradient steps of a step of the program; a multiple of `learner.minibatches`.
        sampler: `(rows, key, count) -> batch` with the fields of `Transition`, such as `rlx.data.sample`.

    Returns:
        A `Source` of `Transition`s `[minibatches · sample]` without a state.

    Raises:
        ValueError: a count below one; gradient steps that the learner cannot take in whole updates.
    """
    check_counts(batch_size=batch_size, updates_per_step=updates_per_step)

    def draw(key: PRNGKeyArray, count: int) -> Transition:
        return Transition(**sampler(rows, key, count)._asdict())

    return Source(
        example=lambda key: draw(key, 1),
        init=lambda key, learner_state: ((), learner_state),
        collect=lambda state, learner_state, key: ((), None, {}),
        draw=lambda state, fresh, key: draw(key, learner.minibatches * batch_size),
        updates=whole_updates(learner, updates_per_step),
    )
