"""A contextual bandit with linear rewards: the shortest episodes there are, with a known best policy."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from rlx.envs.episodes import Outcome, Task
from rlx.envs.tasks.raster import BLUE, RED, Canvas


def bandit(*, arms: int = 4, context_size: int = 4, noise: float = 0.1, seed: int = 0) -> Task:
    """A contextual linear bandit: every step draws a context x ~ N(0, I) and ends the episode.

    reward = x · w[a] + noise · ε,  ε ~ N(0, 1), with arm weights w[a] on the unit sphere.

    The best policy takes argmax_a x · w[a]; `info["regret"]` is max_a x · w[a] − x · w[action].

    Args:
        arms: Number of actions.
        context_size: Length of the context, which is the observation.
        noise: Standard deviation of the reward.
        seed: Which bandit: draws the arms' weights.
    """
    weights = np.random.default_rng(seed).normal(size=(arms, context_size))
    weights = (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)

    def reset(key: Key[Array, ""]) -> tuple[Float[Array, " context"], Float[Array, " context"]]:
        context = jax.random.normal(key, (context_size,))
        return context, context

    def step(context: Float[Array, " context"], action: Int[Array, ""], key: Key[Array, ""]) -> Outcome:
        # A sum rather than a matrix product, which an accelerator would round to fewer digits.
        mean = jnp.sum(weights * context, axis=1)
        return Outcome(
            state=context,
            observation=context,
            reward=mean[action] + noise * jax.random.normal(key),
            terminated=jnp.ones((), bool),
            truncated=jnp.zeros((), bool),
            info={"regret": jnp.max(mean) - mean[action]},
        )

    def draw(contexts: np.ndarray, width: int, height: int) -> np.ndarray:
        return np.stack([_bars(weights @ context, width, height) for context in contexts])

    return Task(
        name="rlx:bandit",
        observation_space=gymnasium.spaces.Box(-np.inf, np.inf, (context_size,), np.float32),
        action_space=gymnasium.spaces.Discrete(arms),
        reset=reset,
        step=step,
        draw=draw,
    )


def _bars(means: np.ndarray, width: int, height: int) -> np.ndarray:
    """Draws the expected reward of every arm, the best in red."""
    canvas = Canvas(width, height, (-0.5, -4.0), (len(means) - 0.5, 4.0))
    for arm, mean in enumerate(means):
        color = RED if arm == np.argmax(means) else BLUE
        canvas.rectangle((arm - 0.35, min(mean, 0.0)), (arm + 0.35, max(mean, 0.0)), color)
    return canvas.image()
