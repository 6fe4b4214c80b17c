"""From a bare task to an environment: time limits, action repeat and fresh resets, once for all suites."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from rlx.envs import resets
from rlx.envs.protocol import Environment, RenderingUnavailable, Step
from rlx.envs.wrapper import Wrapper


class Outcome(NamedTuple):
    """What a bare task's step returns.

    Attributes:
        state: The task's own state after the step.
        observation: What the transition reached.
        reward: Scalar float32.
        terminated: Scalar bool: the task itself ended.
        truncated: Scalar bool: the task cut the episode off for reasons of its own, apart from the time
            limit.
        info: Flat dict of arrays with a fixed structure.
    """

    state: PyTree[Array]
    observation: PyTree[Array]
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]
    info: dict[str, Array]


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """A bare task: how it starts and how it moves, with nothing about episodes. What an adapter supplies.

    Attributes:
        name: `"suite:task"`.
        observation_space: The space of one observation.
        action_space: The space of one action.
        reset: `key -> (state, observation)`.
        step: `(state, action, key) -> Outcome`.
        max_episode_steps: The task's usual time limit, None for none.
        draw: `(states, width, height) -> uint8 [T, height, width, 3]`, states stacked in NumPy along a
            leading time axis; None for a task that has no picture.
        renew: One of `envs.resets`, by what a reset of this task costs.
        time_step: Seconds of simulated time that a step lasts; None where the task has no clock.
        host: Whether it runs in Python on the host, called from the compiled program.
    """

    name: str
    observation_space: gymnasium.Space
    action_space: gymnasium.Space
    reset: Callable[[Key[Array, ""]], tuple[PyTree[Array], PyTree[Array]]]
    step: Callable[[PyTree[Array], Array, Key[Array, ""]], Outcome]
    max_episode_steps: int | None = None
    draw: Callable[[Any, int, int], np.ndarray] | None = None
    renew: Callable[..., PyTree[Array]] = resets.select
    time_step: float | None = None
    host: bool = False


class EpisodeState(NamedTuple):
    """State of an environment: the task's own state and the decisions taken in this episode."""

    task: PyTree[Array]
    elapsed: Int[Array, ""]


@dataclasses.dataclass(frozen=True, eq=False)
class EpisodicEnvironment:
    """The `Environment` made of a bare `task`.

    Attributes:
        task: How the task starts and moves.
        max_episode_steps: Time limit in agent decisions (not repeated steps); None for no limit.
        action_repeat: How many task steps one decision lasts. Rewards add up; a decision ends early where the
            task terminates.
        random_phase: Whether the episode that `reset` starts has a time limit of its own; see `with_random_phase`.

    Raises:
        ValueError: If `max_episode_steps` or `action_repeat` is not a positive integer, or `random_phase` has no
            time limit to shorten.
    """

    task: Task
    max_episode_steps: int | None
    action_repeat: int = 1
    random_phase: bool = False

    def __post_init__(self):
        if self.max_episode_steps is not None:
            _check_positive("max_episode_steps", self.max_episode_steps, "a positive integer, or None for no limit")
        _check_positive("action_repeat", self.action_repeat, "a positive integer")
        if self.random_phase and self.max_episode_steps is None:
            raise ValueError(f"random_phase needs a time limit, and {self.name} has none: give max_episode_steps")

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def observation_space(self) -> gymnasium.Space:
        return self.task.observation_space

    @property
    def action_space(self) -> gymnasium.Space:
        return self.task.action_space

    @property
    def time_step(self) -> float | None:
        """Seconds of simulated time that one decision lasts; None where the task has no clock."""
        return None if self.task.time_step is None else self.task.time_step * self.action_repeat

    @property
    def host(self) -> bool:
        """Whether it runs in Python on the host; its calls may not stand in a loop of uncertain length."""
        return self.task.host

    def reset(self, key: Key[Array, ""]) -> tuple[EpisodeState, PyTree[Array]]:
        """Starts an episode from a random initial state; returns `(state, observation)`."""
        state, observation = _strong(self.task.reset(key))
        elapsed = jnp.zeros((), jnp.int32)
        if self.random_phase:
            elapsed = jax.random.randint(jax.random.fold_in(key, 1), (), 0, self.max_episode_steps)
        return EpisodeState(state, elapsed), observation

    def step(self, state: EpisodeState, action: Array, key: Key[Array, ""]) -> tuple[EpisodeState, Step]:
        """Takes one decision and, if the episode ended, starts the next from a fresh random initial state."""
        move_key, reset_key = jax.random.split(key)
        reached = _strong(self._decide(state.task, action, move_key))

        elapsed = state.elapsed + 1
        out_of_time = jnp.zeros((), bool) if self.max_episode_steps is None else elapsed >= self.max_episode_steps
        truncated = (reached.truncated | out_of_time) & ~reached.terminated
        done = reached.terminated | truncated

        current = reached.state, reached.observation
        task_state, observation = self.task.renew(self.task.reset, done, reset_key, current)
        step = Step(
            observation=observation,
            next_observation=reached.observation,
            reward=reached.reward,
            terminated=reached.terminated,
            truncated=truncated,
            info=reached.info,
        )
        return EpisodeState(task_state, jnp.where(done, 0, elapsed)), step

    def render(self, states: EpisodeState, *, width: int = 320, height: int = 240) -> np.ndarray:
        """Draws `states`, stacked along a leading time axis, as uint8 `[T, height, width, 3]`."""
        if self.task.draw is None:
            raise RenderingUnavailable(f"{self.name} has no picture to draw")
        return self.task.draw(jax.tree.map(np.asarray, states.task), width, height)

    def _decide(self, state: PyTree[Array], action: Array, key: Key[Array, ""]) -> Outcome:
        if self.action_repeat == 1:
            return self.task.step(state, action, key)

        def repeat(reached: Outcome, key):
            over = reached.terminated | reached.truncated
            further = self.task.step(reached.state, action, key)
            further = further._replace(reward=reached.reward + further.reward)
            return jax.tree.map(lambda old, new: jnp.where(over, old, new), reached, further), None

        shapes = jax.eval_shape(self.task.step, state, action, key)
        before = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)._replace(state=state)
        return lax.scan(repeat, before, jax.random.split(key, self.action_repeat))[0]


def with_random_phase(environment: Environment) -> Environment:
    """Returns the same environment with a first episode whose time limit is drawn uniformly from 1 to the usual one.

    Episodes of a fixed length would else end in the same step in all environments that are stepped side by side, and
    a rollout would hold the same part of all of them. Keys, first observations and all later episodes stay as they are.

    Args:
        environment: Made by `envs.make` or `envs.from_spec`, with any wrappers around it.

    Raises:
        ValueError: If its episodes are not those of an `EpisodicEnvironment`, or have no time limit.
    """
    if isinstance(environment, Wrapper):
        return dataclasses.replace(environment, environment=with_random_phase(environment.environment))
    if not isinstance(environment, EpisodicEnvironment):
        raise ValueError(
            f"random_phase needs an environment whose time limit rlx sets, got a {type(environment).__name__}: make it "
            "of a bare task by rlx.envs.from_spec"
        )
    return dataclasses.replace(environment, random_phase=True)


def _strong(tree: PyTree[Array]) -> PyTree[Array]:
    """Drops weak types: a state whose type `step` changes would compile a training step twice."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.asarray(x).dtype), tree)


def _check_positive(argument: str, value: Any, expected: str) -> None:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{argument} must be {expected}, got {value!r}")
