"""Training from a dataset where there is no simulator: `--env none` knows spaces alone, and nothing is evaluated.

`rlx evaluate` then estimates what the policy is worth from a dataset.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rlx.recipes.settings import SettingError

if TYPE_CHECKING:
    import gymnasium

NONE = "none"
"""The name of no environment."""


@dataclasses.dataclass(frozen=True, eq=False)
class NoSimulator:
    """The spaces of a dataset in the place of an environment, in which nothing can act.

    Attributes:
        observation_space: of the dataset.
        action_space: of the dataset.
    """

    observation_space: gymnasium.Space
    action_space: gymnasium.Space
    name: str = NONE
    max_episode_steps: int | None = 1
    time_step: float | None = None
    host: bool = False

    def reset(self, key: Any) -> tuple[Any, Any]:
        """An observation of zeros, for its shape."""
        import jax.numpy as jnp

        return (), jnp.zeros(self.observation_space.shape, self.observation_space.dtype)

    def step(self, state: Any, action: Any, key: Any) -> Any:
        """Raises ValueError: there is nothing to act in."""
        raise ValueError("there is no simulator to act in: the run was trained with --env none")

    def render(self, states: Any, **size: int) -> Any:
        """Raises ValueError: there is nothing to draw."""
        raise ValueError("there is no simulator to draw: the run was trained with --env none")


def make(config: Any, loaded: Any, metadata: Mapping[str, Any]) -> NoSimulator:
    """What stands for the environment of a dataset.

    Actions have the bounds that the metadata say; without them ±1 where all lie within, or else those of the data.

    Args:
        config: of a learner from a dataset.
        loaded: what `rlx.recipes.offline.load` gave.
        metadata: of the dataset.

    Raises:
        SettingError: the config asks for steps in an environment.
    """
    import gymnasium
    import numpy as np

    if config.online_steps:
        raise SettingError("online_steps", f"must be 0 without a simulator, got {config.online_steps}")
    observation, action = loaded.dataset.observation, loaded.dataset.action
    ends = loaded.actions.low, loaded.actions.high
    low, high = (np.array(x, np.float32).reshape(action.shape[1:]) for x in ends)
    if loaded.actions.whole and action.ndim == 1:
        found = gymnasium.spaces.Discrete(int(high) + 1)
    elif max(-low.min(), high.max()) <= 1:
        found = gymnasium.spaces.Box(-1.0, 1.0, action.shape[1:], np.float32)
    else:
        found = gymnasium.spaces.Box(low, high, dtype=np.float32)
    known = described(metadata.get("action_space"))
    fits = known is not None and known.shape == found.shape and isinstance(known, type(found))
    unbounded = gymnasium.spaces.Box(-np.inf, np.inf, observation.shape[1:], np.float32)
    return NoSimulator(unbounded, known if fits else found)


def described(text: Any) -> gymnasium.Space | None:
    """The space that metadata describe as Minari does, a bounded Box or a Discrete one from 0; None for others."""
    import gymnasium
    import numpy as np

    try:
        said = json.loads(text)
        if said["type"] == "Discrete" and not said.get("start"):
            return gymnasium.spaces.Discrete(int(said["n"]))
        if said["type"] == "Box":
            box = gymnasium.spaces.Box(np.array(said["low"], np.float32), np.array(said["high"], np.float32))
            return box if box.is_bounded() else None
    except (TypeError, ValueError, KeyError, AssertionError, OverflowError):
        pass
    return None
