"""Off-policy experience: what happened is stored, and every update learns from a draw of the past.

The replay holds the observation that a transition truly reached, so that values are bootstrapped right at time limits;
and it is part of the state, so that a resumed run goes on bit for bit.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import flashbax
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from rlx.algorithms.learner import Learner, Transition, policy_of
from rlx.training.interaction import Acting, Environment, begin, interaction, summarize, uniform_actions, without_memory
from rlx.training.program import BY_ENV, REPLAY, Source, check_counts
from rlx.types import Scalar, check_choice


class Replay(NamedTuple):
    """State of a source with a replay.

    Attributes:
        acting: the parallel environments.
        past: transitions of the past.
    """

    acting: Acting
    past: PyTree


def replay(
    environment: Environment,
    learner: Learner,
    *,
    num_envs: int = 1,
    unroll_length: int = 1,
    updates_per_step: int = 1,
    batch_size: int = 256,
    buffer_size: int = 1_000_000,
    warmup_steps: int = 10_000,
    warmup_policy: str = "uniform",
    n_step: int = 1,
    discount: Scalar = 0.99,
) -> Source:
    """Minibatches drawn uniformly, with replacement, from the latest `buffer_size` transitions.

    The replay begins with `warmup_steps` random actions. Every step of the program acts `unroll_length` times in every
    environment, and takes `updates_per_step` gradient steps.

    Args:
        environment: one environment; it is vmapped here.
        learner: what acts, and how many minibatches its update takes.
        num_envs: parallel environments.
        unroll_length: steps of each environment per step of the program.
        updates_per_step: gradient steps of a step of the program; a multiple of `learner.minibatches`.
        batch_size: transitions of a minibatch.
        buffer_size: transitions that are kept; the oldest make room.
        warmup_steps: random steps of all environments together, rounded up to whole steps of each.
        warmup_policy: where their actions come from: `"uniform"`, or `"untrained"`, the learner as it begins.
        n_step: most steps that a transition spans; beyond one, minibatches are made by `spanning`. Each environment
            then has an equal part of the buffer.
        discount: γ of the rewards that a transition of several steps adds up.

    Returns:
        A `Source` of `Transition`s `[minibatches · sample]` whose state is a `Replay`.

    Raises:
        ValueError: a count below one; an unknown `warmup_policy`; a buffer that cannot hold a minibatch, a step's or
            the random transitions; gradient steps that the learner cannot take in whole updates; a learner with
            memory; too few random steps for a first transition of `n_step` steps.
    """
    check_counts(
        num_envs=num_envs,
        unroll_length=unroll_length,
        updates_per_step=updates_per_step,
        batch_size=batch_size,
        n_step=n_step,
    )
    check_choice("warmup_policy", warmup_policy, ("uniform", "untrained"))
    updates = whole_updates(learner, updates_per_step)
    if learner.memory is not None:
        raise ValueError("a replay of single transitions cannot train a learner with memory; rollouts can")
    warmup_length = math.ceil(warmup_steps / num_envs)
    drawn = learner.minibatches * batch_size
    needed = max(drawn, num_envs * max(unroll_length, warmup_length, n_step))
    if buffer_size < needed:
        raise ValueError(
            f"buffer_size must hold what an update draws ({drawn}), what a step adds ({num_envs * unroll_length}), "
            f"the random transitions ({num_envs * warmup_length}) and n_step={n_step} of each environment: at least "
            f"{needed}, got {buffer_size}"
        )
    if warmup_length + unroll_length < n_step:
        raise ValueError(
            f"the first update needs n_step={n_step} steps of each environment, got {warmup_length} random ones and "
            f"{unroll_length} of the policy"
        )
    policy = policy_of(learner)
    buffer = sequences(num_envs, n_step, drawn, buffer_size) if n_step > 1 else transitions_alone(drawn, buffer_size)
    at_random = without_memory(uniform_actions(environment.action_space))

    def example(key: PRNGKeyArray) -> Transition:
        start = begin(environment, key, num_envs)
        _, transition = jax.eval_shape(interaction(environment, at_random), start, key)
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), transition)

    def init(key: PRNGKeyArray, learner_state: PyTree) -> tuple[Replay, PyTree]:
        # The environments' first observations are those of a rollout by the same key.
        acting = begin(environment, key, num_envs)
        past = buffer.init(jax.tree.map(lambda x: x[0], example(key)))
        if warmup_length:
            act = at_random if warmup_policy == "uniform" else partial(policy.act, learner_state)
            keys = jax.random.split(jax.random.fold_in(key, 1), warmup_length)
            acting, transitions = jax.lax.scan(interaction(environment, act), acting, keys)
            past = buffer.add(past, transitions)
            learner_state = learner.observe(learner_state, transitions)
        return Replay(acting, past), learner_state

    def collect(state: Replay, learner_state: PyTree, key: PRNGKeyArray) -> tuple[Replay, PyTree, dict[str, Array]]:
        interact = interaction(environment, partial(policy.act, learner_state))
        acting, fresh = jax.lax.scan(interact, state.acting, jax.random.split(key, unroll_length))
        return Replay(acting, buffer.add(state.past, fresh)), fresh, summarize(acting.episodes)

    def draw(state: Replay, fresh: PyTree, key: PRNGKeyArray) -> Transition:
        drawn = buffer.sample(state.past, key).experience
        return drawn if n_step == 1 else spanning(drawn, discount)

    return Source(example, init, collect, draw, updates, layout=Replay(BY_ENV, REPLAY))


def transitions_alone(drawn: int, buffer_size: int) -> Any:
    """A buffer that takes transitions `[time, env]` and gives so many of them, each drawn for itself."""
    return flashbax.make_item_buffer(
        max_length=buffer_size, min_length=1, sample_batch_size=drawn, add_sequences=True, add_batches=True
    )


def sequences(num_envs: int, n_step: int, drawn: int, buffer_size: int) -> Any:
    """A buffer that takes transitions `[time, env]` and gives so many stretches of neighbors `[sample, n_step]`."""
    buffer = flashbax.make_trajectory_buffer(
        add_batch_size=num_envs,
        sample_batch_size=drawn,
        sample_sequence_length=n_step,
        period=1,
        min_length_time_axis=n_step,
        max_length_time_axis=buffer_size // num_envs,
    )
    by_env = lambda transitions: jax.tree.map(lambda x: x.swapaxes(0, 1), transitions)
    return buffer.replace(add=lambda past, transitions: buffer.add(past, by_env(transitions)))


def spanning(stretch: Transition, discount: Scalar) -> Transition:
    """Stretches of neighboring steps as single transitions, which end no later than the episode.

    The reward is Σ_{k<m} γ^k·r_k over the first m steps, up to the first end of an episode, all of them where there is
    none. What was reached, and how the episode ended, are those of step m; a learner bootstraps with γ^m.

    Args:
        stretch: `[sample, step, ...]`, step after step of one environment.
        discount: γ.

    Returns:
        `[sample, ...]`, with m in `extras["steps"]`.
    """
    done = stretch.terminated | stretch.truncated
    # A step counts where no earlier one ended the episode.
    counts = jnp.cumsum(done, axis=1) - done == 0
    steps = jnp.sum(counts, axis=1)
    discounted = discount ** jnp.arange(done.shape[1]) * stretch.reward
    of_first = lambda tree: jax.tree.map(lambda x: x[:, 0], tree)
    of_last = lambda tree: jax.tree.map(lambda x: x[jnp.arange(x.shape[0]), steps - 1], tree)
    return Transition(
        observation=of_first(stretch.observation),
        action=of_first(stretch.action),
        reward=jnp.sum(jnp.where(counts, discounted, 0.0), axis=1),
        terminated=of_last(stretch.terminated),
        truncated=of_last(stretch.truncated),
        next_observation=of_last(stretch.next_observation),
        extras=of_first(stretch.extras) | {"steps": steps},
    )


def whole_updates(learner: Learner, updates_per_step: int) -> int:
    """How many updates of a learner so many gradient steps are.

    Raises:
        ValueError: they are no whole number of updates.
    """
    if updates_per_step % learner.minibatches:
        raise ValueError(
            f"updates_per_step must be a multiple of the {learner.minibatches} gradient steps that one update of the "
            f"learner takes, got {updates_per_step}"
        )
    return updates_per_step // learner.minibatches
