"""The pendulum seen in single pictures, as it were: how fast it swings has to be remembered."""

import dataclasses

from rlx.envs.episodes import Outcome, Task
from rlx.envs.tasks.pendulum import pendulum


def pendulum_without_velocity(*, gravity: float = 10.0, mass: float = 1.0, length: float = 1.0) -> Task:
    """The task of `pendulum`, whose observation is `[cos θ, sin θ]` alone.

    A policy without a memory cannot tell a swing to the left from one to the right.

    Args:
        gravity: g in m/s².
        mass: m in kg.
        length: l in m.
    """
    seen = pendulum(gravity=gravity, mass=mass, length=length)

    def reset(key):
        state, observation = seen.reset(key)
        return state, observation[:2]

    def step(state, action, key) -> Outcome:
        transition = seen.step(state, action, key)
        return transition._replace(observation=transition.observation[:2])

    bound = seen.observation_space.high[:2]
    return dataclasses.replace(
        seen,
        name="rlx:pendulum_without_velocity",
        observation_space=type(seen.observation_space)(-bound, bound),
        reset=reset,
        step=step,
    )
