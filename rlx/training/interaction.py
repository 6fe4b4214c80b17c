"""A policy in parallel environments: the one loop body that training, evaluation, logs and videos are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import gymnasium
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from rlx.algorithms.learner import Transition


@runtime_checkable
class Environment(Protocol):
    """What training needs of an environment; `rlx.envs` has some. Functions are of one environment."""

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


class Acting(NamedTuple):
    """Parallel environments in the middle of their episodes; every leaf has the leading axis `[env]`.

    Attributes:
        environment: environment states.
        observation: observations to act on next.
        memory: what the actor remembers of the running episodes; None for an actor without memory.
        episodes: statistics of episodes.
    """

    environment: PyTree
    observation: PyTree
    memory: PyTree
    episodes: EpisodeStatistics


Act = Callable[[PyTree, PRNGKeyArray, PyTree], tuple[Array, dict[str, Array], PyTree]]
"""`(observation, key, memory) -> (action, extras, memory)` on `[env, ...]`."""


def begin(
    environment: Environment, key: PRNGKeyArray, num_envs: int, memory: Callable[[int], PyTree] = lambda count: None
) -> Acting:
    """Environments whose first episodes begin.

    Args:
        environment: one environment; it is vmapped here.
        key: random key.
        num_envs: how many.
        memory: what an actor remembers at the beginning of so many episodes.
    """
    states, observation = jax.vmap(environment.reset)(jax.random.split(key, num_envs))
    zeros, counts = jnp.zeros(num_envs), jnp.zeros(num_envs, jnp.int32)
    return Acting(states, observation, memory(num_envs), EpisodeStatistics(zeros, counts, zeros, counts, counts))


def interaction(
    environment: Environment, act: Act, memory: Callable[[int], PyTree] = lambda count: None
) -> Callable[[Acting, PRNGKeyArray], tuple[Acting, Transition]]:
    """One step of parallel environments, made for `lax.scan`.

    Args:
        environment: one environment; it is vmapped here.
        act: the policy.
        memory: what it remembers at the beginning of so many episodes. A memory never outlives its episode.

    Returns:
        `(acting, key) -> (acting, transition)`.
    """

    def interact(acting: Acting, key: PRNGKeyArray) -> tuple[Acting, Transition]:
        act_key, step_key = jax.random.split(key)
        count = acting.episodes.finished.shape[0]
        action, extras, remembered = act(acting.observation, act_key, acting.memory)
        states, out = jax.vmap(environment.step)(acting.environment, action, jax.random.split(step_key, count))
        done = out.terminated | out.truncated
        remembered = jax.tree.map(
            lambda first, now: jnp.where(done.reshape(count, *[1] * (now.ndim - 1)), first, now),
            memory(count),
            remembered,
        )
        transition = Transition(
            acting.observation, action, out.reward, out.terminated, out.truncated, out.next_observation, extras
        )
        return Acting(states, out.observation, remembered, _advance(acting.episodes, out.reward, done)), transition

    return interact


def without_memory(act: Callable[[PyTree, PRNGKeyArray], Array]) -> Act:
    """A function `(observation, key) -> action` as what `interaction` takes."""
    return lambda observation, key, memory: (act(observation, key), {}, memory)


def uniform_actions(space: gymnasium.spaces.Space) -> Callable[[PyTree, PRNGKeyArray], Array]:
    """Actions drawn uniformly from a bounded `Box` or a `Discrete` space, one for each observation `[env, ...]`.

    Raises:
        ValueError: another space.
    """
    count = lambda observation: jax.tree.leaves(observation)[0].shape[0]
    if isinstance(space, gymnasium.spaces.Discrete):
        low, high = int(space.start), int(space.start + space.n)
        return lambda observation, key: jax.random.randint(key, (count(observation),), low, high)
    if isinstance(space, gymnasium.spaces.Box) and space.is_bounded():
        low, high = jnp.asarray(space.low), jnp.asarray(space.high)
        draw = lambda key, count: jax.random.uniform(key, (count, *space.shape), low.dtype, low, high)
        return lambda observation, key: draw(key, count(observation))
    raise ValueError(f"uniformly random actions need a bounded Box or a Discrete space, got {space}")


def summarize(episodes: EpisodeStatistics) -> dict[str, Array]:
    """`return_mean`, `episode_length` of the latest finished episodes, and how many `episodes` have finished."""
    # NaN until an episode has finished: there is no return yet.
    finished = episodes.finished > 0
    return {
        "return_mean": jnp.mean(episodes.last_return, where=finished),
        "episode_length": jnp.mean(episodes.last_length.astype(jnp.float32), where=finished),
        "episodes": jnp.sum(episodes.finished),
    }


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
