"""Training as pure functions: one step collects a rollout and updates the learner.

`Program` is what everything else drives: notebooks `vmap` it, `rlx.training.fit` adds what a person needs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from rlx.algorithms.learner import Learner, Transition


@runtime_checkable
class Environment(Protocol):
    """What a loop needs of an environment: the protocol of the `envs` package."""

    max_episode_steps: int | None

    def reset(self, key: PRNGKeyArray) -> tuple[PyTree, PyTree]: ...

    def step(self, state: PyTree, action: Array, key: PRNGKeyArray) -> tuple[PyTree, Any]: ...


class EpisodeStatistics(NamedTuple):
    """Return and length of the running and of the latest finished episode, each `[env]`."""

    running_return: Float[Array, " env"]
    running_length: Int[Array, " env"]
    last_return: Float[Array, " env"]
    last_length: Int[Array, " env"]
    finished: Int[Array, " env"]


class TrainState(NamedTuple):
    """The whole of a run: saved and restored, it goes on bit for bit.

    Attributes:
        learner: state of the learner.
        environment: environment states, leading axis `[env]`.
        observation: observations to act on next, leading axis `[env]`.
        episodes: statistics of episodes.
        key: random key.
        update: updates done.
    """

    learner: PyTree
    environment: PyTree
    observation: PyTree
    episodes: EpisodeStatistics
    key: PRNGKeyArray
    update: Int[Array, ""]

    @property
    def params(self) -> PyTree:
        """The learner's parameters."""
        return self.learner.params


class Program(NamedTuple):
    """A run as pure functions of a state that has at least the fields `learner`, `key` and `update`.

    Attributes:
        init: `key -> state`, such as a `TrainState`.
        step: `state -> (state, metrics)`: one rollout, one update.
        evaluate: `(state, key) -> metrics` in environments of its own.
    """

    init: Callable[[PRNGKeyArray], PyTree]
    step: Callable[[PyTree], tuple[PyTree, dict[str, Array]]]
    evaluate: Callable[[PyTree, PRNGKeyArray], dict[str, Array]]


def make_program(
    environment: Environment,
    learner: Learner,
    *,
    num_envs: int,
    unroll_length: int,
    eval_episodes: int = 16,
    max_eval_steps: int | None = None,
) -> Program:
    """The program of an on-policy learner in an environment.

    Args:
        environment: one environment; it is vmapped here.
        learner: the algorithm.
        num_envs: parallel environments.
        unroll_length: steps of each environment per update.
        eval_episodes: episodes of each kind (deterministic, stochastic) in an evaluation.
        max_eval_steps: where an evaluation cuts an episode; the default is the environment's own limit.

    Raises:
        ValueError: a count below one; no limit on the length of an evaluation.
    """
    for name, count in (
        ("num_envs", num_envs),
        ("unroll_length", unroll_length),
        ("eval_episodes", eval_episodes),
    ):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")

    def init(key: PRNGKeyArray) -> TrainState:
        reset_key, learner_key, key = jax.random.split(key, 3)
        states, observation, episodes = reset(environment, reset_key, num_envs)
        zeros = jnp.zeros(num_envs)
        example = Transition(observation, None, zeros, zeros > 0, zeros > 0, observation, {})
        return TrainState(
            learner=learner.init(learner_key, example),
            environment=states,
            observation=observation,
            episodes=episodes,
            key=key,
            update=jnp.zeros((), jnp.int32),
        )

    def step(state: TrainState) -> tuple[TrainState, dict[str, Array]]:
        key, rollout_key, update_key = jax.random.split(state.key, 3)
        (environment_states, observation, episodes), batch = jax.lax.scan(
            interaction(environment, partial(learner.act, state.learner)),
            (state.environment, state.observation, state.episodes),
            jax.random.split(rollout_key, unroll_length),
        )
        learner_state, metrics = learner.update(state.learner, batch, update_key)
        state = TrainState(learner_state, environment_states, observation, episodes, key, state.update + 1)
        return state, summarize(episodes) | metrics

    def evaluate(state: TrainState, key: PRNGKeyArray) -> dict[str, Array]:
        return evaluate_policy(
            environment, learner, state.learner, key, num_episodes=eval_episodes, max_steps=max_eval_steps
        )

    return Program(init, step, evaluate)


def reset(environment: Environment, key: PRNGKeyArray, num_envs: int) -> tuple[PyTree, PyTree, EpisodeStatistics]:
    """Environment states, observations and statistics of episodes that begin, leading axis `[env]`."""
    states, observation = jax.vmap(environment.reset)(jax.random.split(key, num_envs))
    zeros, counts = jnp.zeros(num_envs), jnp.zeros(num_envs, jnp.int32)
    return states, observation, EpisodeStatistics(zeros, counts, zeros, counts, counts)


def interaction(environment: Environment, act: Callable[[PyTree, PRNGKeyArray], tuple[Array, dict[str, Array]]]):
    """One step of parallel environments, made for `lax.scan`.

    Args:
        environment: one environment; it is vmapped here.
        act: `(observation, key) -> (action, extras)` on `[env, ...]`.

    Returns:
        `((states, observation, episodes), key) -> (the same, Transition)`.
    """

    def interact(carry, key):
        environment_states, observation, episodes = carry
        act_key, step_key = jax.random.split(key)
        action, extras = act(observation, act_key)
        environment_states, out = jax.vmap(environment.step)(
            environment_states, action, jax.random.split(step_key, episodes.finished.shape[0])
        )
        transition = Transition(
            observation, action, out.reward, out.terminated, out.truncated, out.next_observation, extras
        )
        episodes = _advance(episodes, out.reward, out.terminated | out.truncated)
        return (environment_states, out.observation, episodes), transition

    return interact


def evaluate_policy(
    environment: Environment,
    learner: Learner,
    learner_state: PyTree,
    key: PRNGKeyArray,
    *,
    num_episodes: int,
    max_steps: int | None = None,
) -> dict[str, Array]:
    """Returns of whole episodes under the deterministic and the exploring policy, side by side.

    Both kinds share one loop over `2 · num_episodes` environments, so that the simulator is compiled once; it ends
    when every first episode has ended, or, in an environment that runs on the host, after all steps of the limit.

    Returns:
        `eval_return_mean`, `eval_return_std`, `eval_episode_length` (deterministic) and
        `eval_stochastic_return_mean`, scalars.

    Raises:
        ValueError: neither `max_steps` nor a time limit of the environment bounds an episode.
    """
    limit = environment.max_episode_steps if max_steps is None else max_steps
    if limit is None:
        raise ValueError("an environment without max_episode_steps needs max_eval_steps to bound its evaluation")
    count = 2 * num_episodes
    reset_key, key = jax.random.split(key)
    states, observation = jax.vmap(environment.reset)(jax.random.split(reset_key, count))
    deterministic = jnp.arange(count) < num_episodes

    def unfinished(carry):
        step, *_, running = carry
        return (step < limit) & jnp.any(running)

    def interact(carry):
        step, states, observation, returns, lengths, running = carry
        act_key, step_key = jax.random.split(jax.random.fold_in(key, step))
        sampled, _ = learner.act(learner_state, observation, act_key)
        chosen = learner.mode(learner_state, observation)
        is_mode = deterministic.reshape(count, *[1] * (chosen.ndim - 1))
        states, out = jax.vmap(environment.step)(
            states, jnp.where(is_mode, chosen, sampled), jax.random.split(step_key, count)
        )
        returns += jnp.where(running, out.reward, 0.0)
        lengths += running
        running &= ~(out.terminated | out.truncated)
        return step + 1, states, out.observation, returns, lengths, running

    carry = (0, states, observation, jnp.zeros(count), jnp.zeros(count), jnp.ones(count, bool))
    if getattr(environment, "host", False):
        # JAX allows no calls of the host in a loop that, under vmap, ends at another time for each seed.
        carry = jax.lax.fori_loop(0, limit, lambda _, carry: interact(carry), carry)
    else:
        carry = jax.lax.while_loop(unfinished, interact, carry)
    *_, returns, lengths, _ = carry
    return {
        "eval_return_mean": jnp.mean(returns[:num_episodes]),
        "eval_return_std": jnp.std(returns[:num_episodes]),
        "eval_episode_length": jnp.mean(lengths[:num_episodes]),
        "eval_stochastic_return_mean": jnp.mean(returns[num_episodes:]),
    }


def make_train(program: Program, num_updates: int) -> Callable[[PRNGKeyArray], tuple[PyTree, dict]]:
    """A whole run as one pure function `train(key) -> (state, metrics)`, metrics `[update]`; jit and vmap it."""

    def train(key: PRNGKeyArray) -> tuple[PyTree, dict[str, Array]]:
        return jax.lax.scan(lambda state, _: program.step(state), program.init(key), length=num_updates)

    return train


def _advance(episodes: EpisodeStatistics, reward: Array, done: Array) -> EpisodeStatistics:
    running_return = episodes.running_return + reward
    running_length = episodes.running_length + 1
    return EpisodeStatistics(
        running_return=jnp.where(done, 0.0, running_return),
        running_length=jnp.where(done, 0, running_length),
        last_return=jnp.where(done, running_return, episodes.last_return),
        last_length=jnp.where(done, running_length, episodes.last_length),
        finished=episodes.finished + done,
    )


def summarize(episodes: EpisodeStatistics) -> dict[str, Array]:
    """`return_mean`, `episode_length` of the latest finished episodes, and how many `episodes` have finished."""
    # NaN until an episode has finished: there is no return yet.
    finished = episodes.finished > 0
    return {
        "return_mean": jnp.mean(episodes.last_return, where=finished),
        "episode_length": jnp.mean(episodes.last_length.astype(jnp.float32), where=finished),
        "episodes": jnp.sum(episodes.finished),
    }
