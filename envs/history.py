"""Observations that hold what came before: what a policy with a memory of some steps can act on."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from jaxtyping import Array, Key, PyTree

from rlx.envs.protocol import Environment, Step
from rlx.envs.wrapper import Wrapper


@dataclasses.dataclass(frozen=True, eq=False)
class WithHistory(Wrapper):
    """The same `environment`, its observations with the `length - 1` before them. Made by `with_history`."""

    length: int

    @property
    def observation_space(self) -> spaces.Dict:
        several = lambda space: batch_space(space, self.length)
        return spaces.Dict(
            observation=several(self.environment.observation_space),
            action=several(self.environment.action_space),
            past_return=spaces.Box(-np.inf, np.inf, (self.length,), np.float32),
            timestep=spaces.Box(0, np.iinfo(np.int32).max, (self.length,), np.int32),
            where=spaces.MultiBinary(self.length),
        )

    def reset(self, key: Key[Array, ""]) -> tuple[PyTree[Array], dict[str, PyTree[Array]]]:
        state, observation = self.environment.reset(key)
        history = self._beginning(observation)
        return (state, history), history

    def step(self, state: PyTree[Array], action: Array, key: Key[Array, ""]) -> tuple[PyTree[Array], Step]:
        state, history = state
        state, step = self.environment.step(state, action, key)
        reached = _extended(history, action, step.reward, step.next_observation)
        beginning = self._beginning(step.observation)
        is_over = step.terminated | step.truncated
        following = jax.tree.map(lambda new, old: jnp.where(is_over, new, old), beginning, reached)
        return (state, following), step._replace(observation=following, next_observation=reached)

    def render(self, states: Any, *, width: int = 320, height: int = 240) -> np.ndarray:
        return self.environment.render(states[0], width=width, height=height)

    def _beginning(self, observation: PyTree[Array]) -> dict[str, PyTree[Array]]:
        """The history of an episode's first observation."""
        repeated = lambda x: jnp.broadcast_to(x, (self.length, *jnp.shape(x)))
        return {
            "observation": jax.tree.map(repeated, observation),
            "action": repeated(no_action(self.action_space)),
            "past_return": jnp.zeros(self.length),
            "timestep": jnp.zeros(self.length, jnp.int32),
            "where": jnp.arange(self.length) == self.length - 1,
        }


def with_history(environment: Environment, length: int) -> Environment:
    """Returns the same environment with observations that hold the latest steps of the episode, the newest last.

    An observation becomes a dict of arrays with the leading axis [length]:

        observation   what was observed
        action        what was done then; `no_action` at the newest step, where nothing has been done yet
        past_return   sum of the rewards before
        timestep      counted from the beginning of the episode
        where         False at the front, where the episode had not begun: the first observation stands there too

    Keys, rewards and pictures stay as they are. A state is the environment's and the history, side by side. An
    environment with such a history already is returned itself.

    Args:
        environment: Its action space is a Box, Discrete or MultiDiscrete.
        length: Steps that are held, the newest included.

    Raises:
        ValueError: If `length` is below 1.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    if isinstance(environment, WithHistory) and environment.length == length:
        return environment
    return WithHistory(environment, length)


def no_action(space: spaces.Space) -> Array:
    """What stands for an action that is not known: 0, or what is nearest to it in the space."""
    zeros = np.zeros(space.shape, jax.dtypes.canonicalize_dtype(space.dtype))
    return jnp.asarray(np.clip(zeros, space.low, space.high) if isinstance(space, spaces.Box) else zeros + space.start)


def _extended(history: dict[str, PyTree[Array]], action: Array, reward: Array, observation: PyTree[Array]) -> dict:
    """A history after one more step."""
    pushed = lambda past, new: jnp.concatenate([past[1:], jnp.asarray(new, past.dtype)[None]])
    nothing = history["action"][-1]
    return {
        "observation": jax.tree.map(pushed, history["observation"], observation),
        "action": pushed(history["action"].at[-1].set(action), nothing),
        "past_return": pushed(history["past_return"], history["past_return"][-1] + reward),
        "timestep": pushed(history["timestep"], history["timestep"][-1] + 1),
        "where": pushed(history["where"], True),
    }
