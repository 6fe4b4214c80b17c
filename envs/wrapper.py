"""What environments made of another environment have in common."""

import dataclasses
from typing import Any

import gymnasium
import numpy as np

from rlx.envs.protocol import Environment


@dataclasses.dataclass(frozen=True, eq=False)
class Wrapper:
    """The same `environment` but for what a subclass says, which is at least `reset` and `step`.

    What `Environment` asks for are properties, because `isinstance` does not see what `__getattr__` answers from
    Python 3.12 on. What an environment has beyond that, such as `action_repeat`, is passed on by `__getattr__`.
    """

    environment: Environment

    def __getattr__(self, name: str) -> Any:
        # Copies and unpickled objects ask before there is an environment.
        if name == "environment":
            raise AttributeError(name)
        return getattr(self.environment, name)

    @property
    def name(self) -> str:
        return self.environment.name

    @property
    def observation_space(self) -> gymnasium.Space:
        return self.environment.observation_space

    @property
    def action_space(self) -> gymnasium.Space:
        return self.environment.action_space

    @property
    def max_episode_steps(self) -> int | None:
        return self.environment.max_episode_steps

    @property
    def time_step(self) -> float | None:
        return self.environment.time_step

    @property
    def host(self) -> bool:
        return self.environment.host

    def render(self, states: Any, *, width: int = 320, height: int = 240) -> np.ndarray:
        return self.environment.render(states, width=width, height=height)
