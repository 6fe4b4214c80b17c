"""A grid with walls and a goal: four moves, a shortest path known from breadth-first search."""

from collections.abc import Sequence

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from rlx.envs.episodes import Outcome, Task
from rlx.envs.tasks.raster import BLUE, GREEN, INK, Canvas

FOUR_ROOMS = (
    ".....#.....",
    ".....#.....",
    "...........",
    ".....#.....",
    ".....#.....",
    "#.####.....",
    ".....###.##",
    ".....#.....",
    ".....#.....",
    "..........G",
    ".....#.....",
)
"""The rooms of Sutton, Precup and Singh (1999), with the goal in the south-east room."""

_MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)], np.int32)


def gridworld(*, layout: Sequence[str] = FOUR_ROOMS, slip: float = 0.0, step_reward: float = 0.0) -> Task:
    """A walk on a grid to its goal, reached with reward 1, which ends the episode.

    Actions 0 1 2 3 move up, right, down, left; a move into a wall or off the grid stays. With probability
    `slip` the move is a random one. It starts on a random free cell and is cut off after (cells of the grid)
    steps. The observation is the one-hot cell, rows first.

    Args:
        layout: Rows of equal length; `#` is a wall, `G` the goal (at least one), `.` a free cell.
        slip: Probability that the move is drawn uniformly from the four.
        step_reward: Added to the reward of every step, such as −0.01.

    Raises:
        ValueError: If the layout is not a rectangle of `#`, `.` and at least one `G` and one `.`.

    References:
        Sutton, Precup and Singh 1999, "Between MDPs and semi-MDPs".
    """
    cells = parse_layout(layout)
    rows, columns = cells.shape
    wall, goal = jnp.asarray(cells == "#"), jnp.asarray(cells == "G")
    starts = jnp.asarray(np.argwhere(cells == "."), jnp.int32)

    def observe(cell: Int[Array, "2"]) -> Float[Array, " cells"]:
        return jax.nn.one_hot(cell[0] * columns + cell[1], rows * columns)

    def reset(key: Key[Array, ""]) -> tuple[Int[Array, "2"], Float[Array, " cells"]]:
        cell = starts[jax.random.randint(key, (), 0, len(starts))]
        return cell, observe(cell)

    def step(cell: Int[Array, "2"], action: Int[Array, ""], key: Key[Array, ""]) -> Outcome:
        slip_key, move_key = jax.random.split(key)
        move = jnp.where(jax.random.bernoulli(slip_key, slip), jax.random.randint(move_key, (), 0, 4), action)
        aim = jnp.clip(cell + jnp.asarray(_MOVES)[move], 0, jnp.array([rows - 1, columns - 1]))
        cell = jnp.where(wall[aim[0], aim[1]], cell, aim)
        arrived = goal[cell[0], cell[1]]
        reward = arrived.astype(jnp.float32) + step_reward
        return Outcome(cell, observe(cell), reward, terminated=arrived, truncated=jnp.zeros((), bool), info={})

    return Task(
        name="rlx:gridworld",
        observation_space=gymnasium.spaces.Box(0.0, 1.0, (rows * columns,), np.float32),
        action_space=gymnasium.spaces.Discrete(4),
        reset=reset,
        step=step,
        max_episode_steps=rows * columns,
        draw=lambda states, width, height: np.stack(
            [draw_layout(cells, (cell[1], -cell[0]), width, height) for cell in states]
        ),
    )


def parse_layout(layout: Sequence[str]) -> np.ndarray:
    """Returns the layout as an array of single characters `[rows, columns]`, checked.

    Raises:
        ValueError: If the layout is not a rectangle of `#`, `.` and at least one `G` and one `.`.
    """
    widths = {len(row) for row in layout}
    if len(widths) != 1 or 0 in widths:
        raise ValueError(f"layout must be rows of one length, got lengths {[len(row) for row in layout]}")
    cells = np.array([list(row) for row in layout])
    unknown = set(cells.ravel()) - set("#.G")
    if unknown or not {"G", "."} <= set(cells.ravel()):
        raise ValueError(f"layout must consist of '#', at least one '.' and at least one 'G', got {list(layout)}")
    return cells


def draw_layout(cells: np.ndarray, walker: tuple[float, float], width: int, height: int) -> np.ndarray:
    """Draws walls, goals and the walker at `(x, y)`, cell (row, column) around `(column, −row)`."""
    rows, columns = cells.shape
    canvas = Canvas(width, height, (-1.0, -float(rows)), (float(columns), 1.0))
    canvas.rectangle((-0.7, 0.3 - rows), (columns - 0.3, 0.7), INK)
    for (row, column), cell in np.ndenumerate(cells):
        color = {"#": INK, "G": GREEN, ".": (250, 250, 247)}[str(cell)]
        canvas.rectangle((column - 0.5, -row - 0.5), (column + 0.5, -row + 0.5), color)
    canvas.disc(walker, 0.3, BLUE)
    return canvas.image()
