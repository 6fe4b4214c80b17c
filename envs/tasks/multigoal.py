"""The multi-goal plane: four equally good goals, on which a unimodal policy collapses to one."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from rlx.envs.episodes import Outcome, Task
from rlx.envs.tasks.raster import BLUE, GREEN, Canvas

GOALS = np.array([(5.0, 0.0), (-5.0, 0.0), (0.0, 5.0), (0.0, -5.0)], np.float32)
BOUND = 7.0


def multigoal(
    *,
    goal_radius: float = 1.0,
    goal_reward: float = 10.0,
    action_cost: float = 30.0,
    distance_cost: float = 1.0,
    start_noise: float = 0.1,
    move_noise: float = 0.0,
) -> Task:
    """A point on the plane [−7, 7]² that moves by its action, clipped to ±1, towards one of four goals.

    With x the position before the move, u the clipped action and g the goals:

        reward = −action_cost · ‖u‖² − distance_cost · min_g ‖x − g‖²
                 + goal_reward · [min_g ‖x' − g‖ < goal_radius]

    It starts near the origin, ends within `goal_radius` of a goal, and is cut off after 30 steps. By symmetry
    an optimal maximum-entropy policy visits all four goals equally often; `info["goal"]` is the number of the
    nearest.

    Args:
        goal_radius: How near to a goal ends the episode.
        goal_reward: Reward on arrival.
        action_cost: Weight of the squared action.
        distance_cost: Weight of the squared distance to the nearest goal.
        start_noise: Standard deviation of the start around the origin.
        move_noise: Standard deviation added to each move.

    References:
        Haarnoja et al. 2017, "Reinforcement Learning with Deep Energy-Based Policies", arXiv:1702.08165.
    """

    def reset(key: Key[Array, ""]) -> tuple[Float[Array, "2"], Float[Array, "2"]]:
        position = start_noise * jax.random.normal(key, (2,))
        return position, position

    def step(position: Float[Array, "2"], action: Float[Array, "2"], key: Key[Array, ""]) -> Outcome:
        action = jnp.clip(action, -1.0, 1.0)
        cost = action_cost * jnp.sum(action**2) + distance_cost * jnp.min(_squared_distances(position))
        position = jnp.clip(position + action + move_noise * jax.random.normal(key, (2,)), -BOUND, BOUND)
        distances = _squared_distances(position)
        arrived = jnp.min(distances) < goal_radius**2
        return Outcome(
            state=position,
            observation=position,
            reward=jnp.where(arrived, goal_reward, 0.0) - cost,
            terminated=arrived,
            truncated=jnp.zeros((), bool),
            info={"goal": jnp.argmin(distances)},
        )

    def draw(positions: np.ndarray, width: int, height: int) -> np.ndarray:
        def frame(position):
            canvas = Canvas(width, height, (-BOUND, -BOUND), (BOUND, BOUND))
            for goal in GOALS:
                canvas.ring(goal, goal_radius, 0.15, GREEN)
            canvas.disc(position, 0.3, BLUE)
            return canvas.image()

        return np.stack([frame(position) for position in positions])

    return Task(
        name="rlx:multigoal",
        observation_space=gymnasium.spaces.Box(-BOUND, BOUND, (2,), np.float32),
        action_space=gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32),
        reset=reset,
        step=step,
        max_episode_steps=30,
        draw=draw,
    )


def _squared_distances(position: Float[Array, "2"]) -> Float[Array, "4"]:
    return jnp.sum((position - GOALS) ** 2, axis=-1)
