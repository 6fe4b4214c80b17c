"""A point with momentum in a maze: sparse reward, long detours, continuous control."""

from collections.abc import Sequence

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from rlx.envs.episodes import Outcome, Task
from rlx.envs.tasks.gridworld import draw_layout, parse_layout

U_MAZE = (
    "....",
    "###.",
    "G...",
)
"""One bend between the start in the upper row and the goal below it."""

MAX_SPEED = 0.5


def point_maze(
    *,
    layout: Sequence[str] = U_MAZE,
    acceleration: float = 0.1,
    friction: float = 0.1,
    goal_radius: float = 0.5,
    dense: bool = False,
) -> Task:
    """A point mass pushed through a maze of unit cells to its goal.

    One step with action u, clipped to ±1, moves x then y; a coordinate that would enter a wall stays and
    loses its speed (‖·‖∞ speeds are clipped to 0.5, so no wall can be jumped):

        v ← clip((1 − friction) v + acceleration · u, ±0.5),   p ← p + v

    The reward is 1 on arriving within `goal_radius` of a goal, which ends the episode; with `dense` it is
    minus the distance to the nearest goal instead. Cell (row, column) is the square around `p = (column,
    −row)`. It starts at rest at a random place of a random free cell and is cut off after 100 · (free cells)
    / 8 steps, at least 100. The observation is `[p, v]`.

    Args:
        layout: Rows of equal length; `#` is a wall, `G` a goal (at least one), `.` a free cell. Outside is
            wall.
        acceleration: Speed gained per step at full push.
        friction: Fraction of the speed lost per step.
        goal_radius: How near to a goal's center ends the episode.
        dense: Whether the reward is minus the distance to the goal.

    Raises:
        ValueError: If the layout is not a rectangle of `#`, `.` and at least one `G` and one `.`.
    """
    cells = parse_layout(layout)
    wall = jnp.asarray(np.pad(cells == "#", 1, constant_values=True))
    goals = jnp.asarray(_centers(cells == "G"))
    starts = jnp.asarray(_centers(cells == "."))

    def blocked(position: Float[Array, "2"]) -> Bool[Array, ""]:
        column, row = jnp.round(position[0]).astype(int), jnp.round(-position[1]).astype(int)
        return wall[row + 1, column + 1]

    def reset(key: Key[Array, ""]) -> tuple[Float[Array, "4"], Float[Array, "4"]]:
        cell_key, offset_key = jax.random.split(key)
        center = starts[jax.random.randint(cell_key, (), 0, len(starts))]
        position = center + jax.random.uniform(offset_key, (2,), minval=-0.25, maxval=0.25)
        state = jnp.concatenate([position, jnp.zeros(2)])
        return state, state

    def step(state: Float[Array, "4"], action: Float[Array, "2"], key: Key[Array, ""]) -> Outcome:
        position, speed = state[:2], state[2:]
        speed = (1 - friction) * speed + acceleration * jnp.clip(action, -1.0, 1.0)
        speed = jnp.clip(speed, -MAX_SPEED, MAX_SPEED)
        for axis in range(2):
            moved = position.at[axis].add(speed[axis])
            hit = blocked(moved)
            position = jnp.where(hit, position, moved)
            speed = speed.at[axis].set(jnp.where(hit, 0.0, speed[axis]))
        distance = jnp.min(jnp.linalg.norm(goals - position, axis=-1))
        arrived = distance < goal_radius
        state = jnp.concatenate([position, speed])
        return Outcome(
            state=state,
            observation=state,
            reward=-distance if dense else arrived.astype(jnp.float32),
            terminated=arrived,
            truncated=jnp.zeros((), bool),
            info={"distance": distance},
        )

    rows, columns = cells.shape
    low = np.array([-0.5, 0.5 - rows, -MAX_SPEED, -MAX_SPEED], np.float32)
    high = np.array([columns - 0.5, 0.5, MAX_SPEED, MAX_SPEED], np.float32)
    return Task(
        name="rlx:point_maze",
        observation_space=gymnasium.spaces.Box(low, high, dtype=np.float32),
        action_space=gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32),
        reset=reset,
        step=step,
        max_episode_steps=max(100, 100 * len(starts) // 8),
        draw=lambda states, width, height: np.stack(
            [draw_layout(cells, tuple(state[:2]), width, height) for state in states]
        ),
    )


def _centers(mask: np.ndarray) -> np.ndarray:
    return np.array([(column, -row) for row, column in np.argwhere(mask)], np.float32)
