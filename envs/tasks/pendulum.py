"""The torque-limited pendulum that must swing up: Gymnasium's Pendulum-v1 in JAX."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from rlx.envs.episodes import Outcome, Task
from rlx.envs.tasks.raster import RED, Canvas

TIME_STEP = 0.05
MAX_SPEED = 8.0
MAX_TORQUE = 2.0


def pendulum(*, gravity: float = 10.0, mass: float = 1.0, length: float = 1.0) -> Task:
    """A pendulum with a motor at its hinge, too weak to lift it in one go.

    θ is the angle from upright. One step of 0.05 s with torque u, clipped to ±2:

        θ̇ ← clip(θ̇ + (3g / 2l · sin θ + 3 / (m l²) · u) Δt, ±8),   θ ← θ + θ̇ Δt,
        reward = −(θ² + 0.1 θ̇² + 0.001 u²)   with θ in [−π, π) and both before the step.

    It starts anywhere on the circle with a speed within ±1, never terminates, and is cut off after 200 steps.
    The observation is `[cos θ, sin θ, θ̇]`.

    Args:
        gravity: g in m/s².
        mass: m in kg.
        length: l in m.
    """

    def reset(key: Key[Array, ""]) -> tuple[Float[Array, "2"], Float[Array, "3"]]:
        limit = jnp.array([jnp.pi, 1.0])
        state = jax.random.uniform(key, (2,), minval=-limit, maxval=limit)
        return state, observe(state)

    def step(state: Float[Array, "2"], action: Float[Array, "1"], key: Key[Array, ""]) -> Outcome:
        angle, speed = state
        torque = jnp.clip(action[0], -MAX_TORQUE, MAX_TORQUE)
        cost = _wrap(angle) ** 2 + 0.1 * speed**2 + 0.001 * torque**2
        acceleration = 3 * gravity / (2 * length) * jnp.sin(angle) + 3 / (mass * length**2) * torque
        speed = jnp.clip(speed + acceleration * TIME_STEP, -MAX_SPEED, MAX_SPEED)
        state = jnp.stack([angle + speed * TIME_STEP, speed])
        never = jnp.zeros((), bool)
        return Outcome(state, observe(state), -cost, terminated=never, truncated=never, info={})

    def observe(state):
        return jnp.stack([jnp.cos(state[0]), jnp.sin(state[0]), state[1]])

    bound = np.array([1.0, 1.0, MAX_SPEED], np.float32)
    return Task(
        name="rlx:pendulum",
        observation_space=gymnasium.spaces.Box(-bound, bound, dtype=np.float32),
        action_space=gymnasium.spaces.Box(-MAX_TORQUE, MAX_TORQUE, (1,), np.float32),
        reset=reset,
        step=step,
        max_episode_steps=200,
        draw=lambda states, width, height: draw_pendulum(states[:, 0], width, height),
        time_step=TIME_STEP,
    )


def _wrap(angle):
    return (angle + jnp.pi) % (2 * jnp.pi) - jnp.pi


def draw_pendulum(angles: np.ndarray, width: int, height: int) -> np.ndarray:
    """Draws the pendulum at each of the `angles` from upright, in radians."""

    def frame(angle):
        canvas = Canvas(width, height, (-1.2, -1.2), (1.2, 1.2))
        canvas.segment((0, 0), (-np.sin(angle), np.cos(angle)), 0.18, RED)
        canvas.disc((0, 0), 0.05)
        return canvas.image()

    return np.stack([frame(angle) for angle in angles])
