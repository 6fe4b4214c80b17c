"""gymnax: classic control, bsuite and MinAtar in JAX."""

import dataclasses
import inspect
from typing import Any

import gymnasium
import gymnax
import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments.spaces import gymnax_space_to_gym_space
from jaxtyping import Array, Key

from rlx.envs.episodes import Outcome, Task
from rlx.envs.registry import check_options
from rlx.envs.tasks.pendulum import draw_pendulum
from rlx.envs.tasks.raster import BLUE, GREEN, INK, RED, SAND, Canvas


def load(task: str, **options: Any) -> Task:
    """Loads a gymnax environment without its automatic reset and its time limit.

    Args:
        task: One of gymnax's environments, such as `"CartPole-v1"`.
        **options: Arguments of the environment's class (`size=10` for DeepSea) or fields of its parameters
            (`gravity=5.0` for CartPole).

    Raises:
        ValueError: If an option does not exist.
    """
    name = f"gymnax:{task}"
    simulator, params = _make(task)
    fields = {field.name for field in dataclasses.fields(params)}
    arguments = set(inspect.signature(type(simulator)).parameters)
    check_options(name, options, fields | arguments)
    if arguments & options.keys():
        simulator, params = _make(task, **{k: v for k, v in options.items() if k in arguments})
    params = params.replace(**{k: v for k, v in options.items() if k in fields})

    def reset(key: Key[Array, ""]) -> tuple[Any, Any]:
        observation, state = simulator.reset_env(key, params)
        return jax.tree.map(jnp.asarray, state), observation

    def step(state: Any, action: Array, key: Key[Array, ""]) -> Outcome:
        observation, state, reward, terminated, info = simulator.step_env(key, state, action, params)
        return Outcome(
            state=state,
            observation=observation,
            reward=jnp.asarray(reward, jnp.float32),
            terminated=jnp.asarray(terminated, bool),
            truncated=jnp.zeros((), bool),
            info={k: jnp.asarray(v) for k, v in info.items()},
        )

    _, example = jax.eval_shape(reset, jax.random.key(0))
    # As in `_make`, for the numbers that spaces are made of.
    with jax.ensure_compile_time_eval():
        observation_space = gymnax_space_to_gym_space(simulator.observation_space(params))
        action_space = gymnax_space_to_gym_space(simulator.action_space(params))
    return Task(
        name=name,
        observation_space=_with_dtype(observation_space, example.dtype),
        action_space=action_space,
        reset=reset,
        step=step,
        max_episode_steps=int(params.max_steps_in_episode),
        draw=_DRAW.get(task) or (_draw_cells(simulator, params) if task.endswith("MinAtar") else None),
        # The one or the other name, in the tasks that integrate over time.
        time_step=getattr(params, "dt", getattr(params, "tau", None)),
    )


def _make(task: str, **options: Any) -> tuple[Any, Any]:
    """A simulator and its parameters as plain numbers, also within a trace, as of a sweep: its mazes look at them."""
    with jax.ensure_compile_time_eval():
        return gymnax.make(task, **options)


def _with_dtype(space: gymnasium.Space, dtype: np.dtype) -> gymnasium.Space:
    """gymnax declares some observations in another dtype than it returns."""
    if isinstance(space, gymnasium.spaces.Box) and space.dtype != dtype:
        return gymnasium.spaces.Box(space.low.astype(dtype), space.high.astype(dtype), dtype=dtype)
    return space


def _draw_pole(states: Any, width: int, height: int) -> np.ndarray:
    def frame(x, angle):
        canvas = Canvas(width, height, (-2.8, -0.7), (2.8, 1.9))
        canvas.segment((-2.8, 0.0), (2.8, 0.0), 0.02)
        canvas.rectangle((x - 0.3, -0.15), (x + 0.3, 0.15), INK)
        canvas.segment((x, 0.0), (x + np.sin(angle), np.cos(angle)), 0.12, RED)
        return canvas.image()

    return np.stack([frame(x, angle) for x, angle in zip(states.x, states.theta, strict=True)])


def _draw_cells(simulator: Any, params: Any):
    palette = np.array([BLUE, RED, GREEN, SAND, (150, 110, 180), (110, 190, 190), (230, 150, 70), INK], np.uint8)

    def draw(states: Any, width: int, height: int) -> np.ndarray:
        observe = jax.jit(jax.vmap(lambda state: simulator.observe(jax.random.key(0), state, None, params)))
        cells = np.asarray(observe(states)) > 0
        color = palette[np.argmax(cells, axis=-1) % len(palette)]
        grid = np.where(cells.any(axis=-1, keepdims=True), color, np.uint8(250))
        rows = np.arange(height) * grid.shape[1] // height
        columns = np.arange(width) * grid.shape[2] // width
        return grid[:, rows[:, None], columns[None, :]]

    return draw


_DRAW = {
    "CartPole-v1": _draw_pole,
    "Pendulum-v1": lambda states, width, height: draw_pendulum(states.theta, width, height),
}
