"""A task whose every number can be said in advance: it counts."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from rlx.envs import resets
from rlx.envs.episodes import EpisodicEnvironment, Outcome, Task


def counter(*, end: float = np.inf, cut: float = np.inf, renew=resets.in_chunks, limit=None, repeat=1):
    """Starts at x in [0, 1); a step adds the action and pays x; ends from `end` on, is cut from `cut` on."""

    def reset(key):
        x = jax.random.uniform(key)
        return {"x": x, "steps": jnp.int32(0)}, x[None]

    def step(state, action, key):
        x = state["x"] + action[0]
        state = {"x": x, "steps": state["steps"] + 1}
        return Outcome(state, x[None], x, x >= end, x >= cut, {"steps": state["steps"]})

    numbers = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    increments = gymnasium.spaces.Box(0.5, 1.5, (1,), np.float32)
    task = Task("test:counter", numbers, increments, reset, step, renew=renew)
    return EpisodicEnvironment(task, limit, repeat)
