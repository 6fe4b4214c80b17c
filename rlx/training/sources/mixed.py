"""A dataset first, then the dataset and what the policy goes through itself: from offline to online, in one run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Int, Key, PRNGKeyArray, PyTree

from rlx import data
from rlx.algorithms.learner import Learner, Transition, policy_of
from rlx.data.sampling import Batch
from rlx.training.interaction import Acting, Environment, begin, interaction, summarize
from rlx.training.program import BY_ENV, BY_RUN, REPLAY, Source, check_counts
from rlx.training.sources.online_log import OnlineLog, empty_log, extend_log, sample_log
from rlx.training.sources.replay import whole_updates
from rlx.types import Scalar


class Mixed(NamedTuple):
    """State of a source that goes on from a dataset to an environment.

    Attributes:
        acting: the parallel environments.
        log: what was experienced in them.
        update: steps of the program begun.
    """

    acting: Acting
    log: OnlineLog
    update: Int[Array, ""]


def mixed(
    rows: PyTree,
    learner: Learner,
    environment: Environment,
    *,
    pretraining_steps: int,
    capacity: int,
    num_rows: int,
    num_envs: int = 1,
    unroll_length: int = 1000,
    mixing_ratio: float | None = 0.5,
    batch_size: int = 256,
    updates_per_step: int = 1000,
    return_discount: Scalar | None = None,
    sampler: Callable[[PyTree, PRNGKeyArray, int], NamedTuple] = data.sample,
    as_row: Callable[[Transition], Transition] = lambda transition: transition,
) -> Source:
    """Minibatches of a dataset, and after some steps of the program of the dataset and of the policy's own experience.

    In its first `pretraining_steps` steps the program learns from the dataset alone, from the very minibatches that
    `rlx.training.sources.dataset` would give it. From then on every step first acts `unroll_length` times in every
    environment, and a fixed share of each minibatch is drawn from the dataset, the rest from what was experienced.

    Args:
        rows: what the sampler draws from, such as an `rlx.data.Dataset`.
        learner: what acts, and how many minibatches its update takes.
        environment: one environment; it is vmapped here.
        pretraining_steps: steps of the program before the first action.
        capacity: steps of each environment that are kept, a multiple of `unroll_length`; the oldest make room.
        num_rows: transitions of the dataset, which a share in proportion needs.
        num_envs: parallel environments.
        unroll_length: steps of each environment per step of the program.
        mixing_ratio: share of each minibatch that is drawn from the dataset, rounded down to whole transitions; None
            takes the dataset's share of all transitions there are, as −1 does in Cal-QL's code.
        batch_size: transitions of a minibatch.
        updates_per_step: gradient steps of a step of the program; a multiple of `learner.minibatches`.
        return_discount: γ of the returns-to-go among the extras of minibatches; None for none.
        sampler: `(rows, key, count) -> batch` with the fields of `Transition`, whose extras are `index`, `next_action`
            and, with `return_discount`, `return_to_go`.
        as_row: from what was experienced to what the dataset would hold of it: normalized, its rewards scaled.

    Returns:
        A `Source` of `Transition`s `[minibatches · sample]` whose state is a `Mixed`.

    Raises:
        ValueError: a count below one; a capacity that is no multiple of `unroll_length`; a share outside
            of [0, 1]; gradient steps that the learner cannot take in whole updates; a learner with memory, or one that
            does not act.

    References:
        Nakamoto et al., 2023, "Cal-QL: Calibrated Offline RL Pre-Training for Efficient Online Fine-Tuning",
        arXiv:2303.05479.
        Ball et al., 2023, "Efficient Online Reinforcement Learning with Offline Data", arXiv:2302.02948 (half of each
        minibatch from either).
    """
    check_counts(
        pretraining_steps=pretraining_steps,
        capacity=capacity,
        num_rows=num_rows,
        num_envs=num_envs,
        unroll_length=unroll_length,
        batch_size=batch_size,
        updates_per_step=updates_per_step,
    )
    if capacity % unroll_length:
        raise ValueError(f"capacity must be a multiple of unroll_length={unroll_length}, got {capacity}")
    if mixing_ratio is not None and not 0 <= mixing_ratio <= 1:
        raise ValueError(f"mixing_ratio must be in [0, 1], or None, got {mixing_ratio}")
    if learner.memory is not None:
        raise ValueError("single transitions cannot train a learner with memory")
    policy, drawn = policy_of(learner), learner.minibatches * batch_size

    def experience(learner_state: PyTree, acting: Acting, keys: Key[Array, " step"]) -> tuple[Acting, Batch]:
        acting, transitions = jax.lax.scan(interaction(environment, partial(policy.act, learner_state)), acting, keys)
        fields = {name: getattr(as_row(transitions), name) for name in Batch._fields}
        return acting, Batch(**fields)._replace(extras={})

    def init(key: PRNGKeyArray, learner_state: PyTree) -> tuple[Mixed, PyTree]:
        acting = begin(environment, key, num_envs)
        _, steps = jax.eval_shape(experience, learner_state, acting, jax.random.split(key, 1))
        step = jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), steps)
        log = empty_log(step, capacity, with_returns=return_discount is not None)
        return Mixed(acting, log, jnp.zeros((), jnp.int32)), learner_state

    def collect(state: Mixed, learner_state: PyTree, key: PRNGKeyArray) -> tuple[Mixed, None, dict[str, Array]]:
        def act(state: Mixed) -> Mixed:
            acting, steps = experience(learner_state, state.acting, jax.random.split(key, unroll_length))
            return state._replace(acting=acting, log=extend_log(state.log, steps, discount=return_discount))

        acted = jnp.maximum(state.update + 1 - pretraining_steps, 0)
        # A loop of one round or none: JAX has no conditions on what calls the host, as environments there do.
        rounds = same_in_all_runs(jnp.minimum(acted, 1))
        state = jax.lax.fori_loop(0, rounds, lambda _, state: act(state), state)
        metrics = summarize(state.acting.episodes) | {"online_steps": num_envs * unroll_length * acted}
        return state._replace(update=state.update + 1), None, metrics

    def draw(state: Mixed, fresh: None, key: PRNGKeyArray) -> Transition:
        of_dataset = Transition(**sampler(rows, key, drawn)._asdict())
        experienced = Transition(**sample_log(state.log, jax.random.fold_in(key, 1), drawn)._asdict())
        # The first of each minibatch are the dataset's; all of them while nothing was experienced.
        share = jnp.where(state.log.length > 0, shared(state.log), batch_size)
        is_of_dataset = jnp.arange(drawn) % batch_size < share
        return jax.tree.map(partial(choose, is_of_dataset), of_dataset, experienced)

    def shared(log: OnlineLog) -> Int[Array, ""]:
        if mixing_ratio is not None:
            return jnp.asarray(int(batch_size * mixing_ratio))
        experienced = num_envs * jnp.minimum(log.length, capacity)
        return jnp.floor(batch_size * (num_rows / (num_rows + experienced))).astype(jnp.int32)

    return Source(
        example=lambda key: Transition(**sampler(rows, key, 1)._asdict()),
        init=init,
        collect=collect,
        draw=draw,
        updates=whole_updates(learner, updates_per_step),
        layout=Mixed(BY_ENV, REPLAY, BY_RUN),
    )


def choose(where: Bool[Array, " sample"], x: Array, y: Array) -> Array:
    """x where it is so and else y, along the leading axis."""
    return jnp.where(where.reshape(-1, *[1] * (x.ndim - 1)), x, y)


@custom_vmap
def same_in_all_runs(count: Int[Array, ""]) -> Int[Array, ""]:
    """A count that is the same in all runs that are batched together, without their axis.

    With an axis of runs, a loop of so many rounds would keep the state of before beside the new one, to choose from.
    """
    return count


@same_in_all_runs.def_vmap
def _(size, is_batched, count):
    return jnp.max(count, axis=0) if is_batched[0] else count, False
