"""Training off-policy: one step acts, stores what happened, and learns from a replay of the past.

The replay holds the observation that a transition truly reached, so that values are bootstrapped right at time limits;
and it is part of the state, so that a resumed run goes on bit for bit.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple, Protocol

import flashbax
import gymnasium
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from rlx.algorithms.learner import Learner
from rlx.training import loop
from rlx.training.loop import EpisodeStatistics, Program
from rlx.types import check_choice


class Environment(loop.Environment, Protocol):
    """An environment whose actions can be drawn at random."""

    action_space: gymnasium.spaces.Space


class ReplayState(NamedTuple):
    """The whole of a run: saved and restored, it goes on bit for bit.

    Attributes:
        learner: state of the learner.
        environment: environment states, leading axis `[env]`.
        observation: observations to act on next, leading axis `[env]`.
        episodes: statistics of episodes.
        replay: transitions of the past.
        key: random key.
        update: updates done.
    """

    learner: PyTree
    environment: PyTree
    observation: PyTree
    episodes: EpisodeStatistics
    replay: PyTree
    key: PRNGKeyArray
    update: Int[Array, ""]

    @property
    def params(self) -> PyTree:
        """The learner's parameters."""
        return self.learner.params


def make_program(
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
    eval_episodes: int = 16,
    max_eval_steps: int | None = None,
) -> Program:
    """The program of an off-policy learner in an environment.

    Its `init` fills the replay with `warmup_steps` random actions. Every `step` then acts
    `unroll_length` times in every environment, and takes `updates_per_step` gradient steps on minibatches drawn
    uniformly, with replacement, from the latest `buffer_size` transitions.

    Args:
        environment: one environment; it is vmapped here.
        learner: the algorithm.
        num_envs: parallel environments.
        unroll_length: steps of each environment per program step.
        updates_per_step: gradient steps of a program step; a multiple of `learner.minibatches`.
        batch_size: transitions of a minibatch.
        buffer_size: transitions that are kept; the oldest make room.
        warmup_steps: random steps of all environments together, rounded up to whole steps of each.
        warmup_policy: where their actions come from: `"uniform"`, or `"untrained"`, the learner as it begins.
        eval_episodes: episodes of each kind (deterministic, stochastic) in an evaluation.
        max_eval_steps: where an evaluation cuts an episode; the default is the environment's own limit.

    Raises:
        ValueError: a count below one; an unknown `warmup_policy`; a buffer that cannot hold a minibatch, a step's or
            the random transitions; gradient steps that the learner cannot take in whole updates.
    """
    counts = dict(
        num_envs=num_envs,
        unroll_length=unroll_length,
        updates_per_step=updates_per_step,
        batch_size=batch_size,
        eval_episodes=eval_episodes,
    )
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    check_choice("warmup_policy", warmup_policy, ("uniform", "untrained"))
    check_updates(learner, updates_per_step)
    warmup_length = math.ceil(warmup_steps / num_envs)
    needed = max(batch_size, num_envs * unroll_length, num_envs * warmup_length)
    if buffer_size < needed:
        raise ValueError(
            f"buffer_size must hold a minibatch, the transitions of a step and the random ones: at least {needed}, "
            f"got {buffer_size}"
        )
    buffer = flashbax.make_item_buffer(
        max_length=buffer_size,
        min_length=1,
        sample_batch_size=batch_size * updates_per_step,
        add_sequences=True,
        add_batches=True,
    )

    def act_at_random(observation: PyTree, key: PRNGKeyArray):
        return uniform_actions(environment.action_space, key, num_envs), {}

    def init(key: PRNGKeyArray) -> ReplayState:
        reset_key, learner_key, warmup_key, key = jax.random.split(key, 4)
        start = loop.reset(environment, reset_key, num_envs)
        _, transition = jax.eval_shape(loop.interaction(environment, act_at_random), start, warmup_key)
        example = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), transition)
        learner_state = learner.init(learner_key, example)
        replay = buffer.init(jax.tree.map(lambda x: x[0], example))
        if warmup_length:
            act = act_at_random if warmup_policy == "uniform" else partial(learner.act, learner_state)
            interact = loop.interaction(environment, act)
            start, transitions = jax.lax.scan(interact, start, jax.random.split(warmup_key, warmup_length))
            replay = buffer.add(replay, transitions)
            learner_state = learner.observe(learner_state, transitions)
        return ReplayState(learner_state, *start, replay, key, jnp.zeros((), jnp.int32))

    def step(state: ReplayState) -> tuple[ReplayState, dict[str, Array]]:
        key, rollout_key, sample_key, update_key = jax.random.split(state.key, 4)
        (environment_states, observation, episodes), transitions = jax.lax.scan(
            loop.interaction(environment, partial(learner.act, state.learner)),
            (state.environment, state.observation, state.episodes),
            jax.random.split(rollout_key, unroll_length),
        )
        replay = buffer.add(state.replay, transitions)
        num_updates = updates_per_step // learner.minibatches
        batches = jax.tree.map(
            lambda x: x.reshape(num_updates, learner.minibatches * batch_size, *x.shape[1:]),
            buffer.sample(replay, sample_key).experience,
        )
        learner_state, metrics = jax.lax.scan(
            lambda state, inputs: learner.update(state, *inputs),
            learner.observe(state.learner, transitions),
            (batches, jax.random.split(update_key, num_updates)),
        )
        state = ReplayState(learner_state, environment_states, observation, episodes, replay, key, state.update + 1)
        return state, loop.summarize(episodes) | jax.tree.map(jnp.mean, metrics)

    def evaluate(state: ReplayState, key: PRNGKeyArray) -> dict[str, Array]:
        return loop.evaluate_policy(
            environment, learner, state.learner, key, num_episodes=eval_episodes, max_steps=max_eval_steps
        )

    return Program(init, step, evaluate)


def check_updates(learner: Learner, updates_per_step: int) -> None:
    """Raises `ValueError` unless the learner can take so many gradient steps in whole updates."""
    if updates_per_step % learner.minibatches:
        raise ValueError(
            f"updates_per_step must be a multiple of the {learner.minibatches} gradient steps that one update of the "
            f"learner takes, got {updates_per_step}"
        )


def uniform_actions(space: gymnasium.spaces.Space, key: PRNGKeyArray, count: int) -> Array:
    """Actions drawn uniformly from a bounded `Box` or a `Discrete` space, `[count, *action]`.

    Raises:
        ValueError: another space.
    """
    if isinstance(space, gymnasium.spaces.Discrete):
        return jax.random.randint(key, (count,), space.start, space.start + space.n)
    if isinstance(space, gymnasium.spaces.Box) and space.is_bounded():
        return jax.random.uniform(key, (count, *space.shape), minval=space.low, maxval=space.high)
    raise ValueError(f"random actions need a bounded Box or a Discrete space, got {space}")
