"""A chain with a small reward near and a large one far: what exploration is for."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from rlx.envs.episodes import Outcome, Task
from rlx.envs.tasks.raster import BLUE, GREEN, SAND, Canvas


def chain(*, length: int = 8, slip: float = 0.0, near_reward: float = 0.01, far_reward: float = 1.0) -> Task:
    """States 0 … length−1 in a row; action 1 moves right, action 0 left, and the walls hold.

    Staying against the left wall pays `near_reward`; staying against the right wall pays `far_reward`. With
    probability `slip` the opposite of the action happens. It starts in state 0 or 1 with equal probability
    and never terminates; it is cut off after 4 · length steps. The observation is the one-hot state.

    Args:
        length: Number of states, at least 2.
        slip: Probability that a move goes the other way.
        near_reward: Reward at the left wall.
        far_reward: Reward at the right wall.

    Raises:
        ValueError: If `length` is below 2.
    """
    if length < 2:
        raise ValueError(f"length must be at least 2, got {length}")

    def observe(state: Int[Array, ""]) -> Float[Array, " length"]:
        return jax.nn.one_hot(state, length)

    def reset(key: Key[Array, ""]) -> tuple[Int[Array, ""], Float[Array, " length"]]:
        state = jax.random.randint(key, (), 0, 2)
        return state, observe(state)

    def step(state: Int[Array, ""], action: Int[Array, ""], key: Key[Array, ""]) -> Outcome:
        right = (action == 1) ^ jax.random.bernoulli(key, slip)
        aim = state + jnp.where(right, 1, -1)
        reward = jnp.where(aim < 0, near_reward, jnp.where(aim >= length, far_reward, 0.0))
        state = jnp.clip(aim, 0, length - 1)
        never = jnp.zeros((), bool)
        return Outcome(state, observe(state), reward.astype(jnp.float32), terminated=never, truncated=never, info={})

    def draw(states: np.ndarray, width: int, height: int) -> np.ndarray:
        def frame(state):
            canvas = Canvas(width, height, (-0.6, -0.6), (length - 0.4, 0.6))
            for cell in range(length):
                canvas.rectangle((cell - 0.45, -0.45), (cell + 0.45, 0.45), GREEN if cell == length - 1 else SAND)
            canvas.disc((state, 0.0), 0.3, BLUE)
            return canvas.image()

        return np.stack([frame(state) for state in states])

    return Task(
        name="rlx:chain",
        observation_space=gymnasium.spaces.Box(0.0, 1.0, (length,), np.float32),
        action_space=gymnasium.spaces.Discrete(2),
        reset=reset,
        step=step,
        max_episode_steps=4 * length,
        draw=draw,
    )
