"""What every environment is: the contract between `envs` and whoever acts in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import gymnasium
    import jax
    import numpy as np


class Step(NamedTuple):
    """One transition of one environment.

    `observation` and `next_observation` differ exactly where an episode ended: value targets bootstrap from
    `next_observation` (unless `terminated`), while the next action is chosen from `observation`.

    Attributes:
        observation: What to act on next: the first observation of a new episode if this step ended one.
        next_observation: What the transition reached, before any reset.
        reward: Scalar float32; with action repeat the sum over the repeated steps.
        terminated: Scalar bool: the task itself ended, the value of what follows is 0.
        truncated: Scalar bool: cut off from outside (a time limit), the value of what follows is that of
            `next_observation`. Never True together with `terminated`.
        info: Flat dict of arrays with a fixed structure, such as the simulator's metrics.
    """

    observation: Any
    next_observation: Any
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    info: dict[str, jax.Array]


@runtime_checkable
class Environment(Protocol):
    """One environment that starts a fresh episode by itself when one ends.

    `reset` and `step` are pure and act on ONE environment. Loops `vmap` them, first over environments and
    outside that over seeds.

    Attributes:
        name: `"suite:task"`.
        observation_space: The space of one observation.
        action_space: The space of one action.
        max_episode_steps: The time limit in agent decisions, None for no limit.
        time_step: Seconds of simulated time that one decision lasts; None where there is no clock.
        host: Whether it runs in Python on the host, called from the compiled program. JAX lets such calls
            stand in a loop of fixed length (`scan`) under `vmap`, but not in one that may end early.
    """

    name: str
    observation_space: gymnasium.Space
    action_space: gymnasium.Space
    max_episode_steps: int | None
    time_step: float | None
    host: bool

    def reset(self, key: jax.Array) -> tuple[Any, Any]:
        """Starts an episode from a random initial state; returns `(state, observation)`."""
        ...

    def step(self, state: Any, action: jax.Array, key: jax.Array) -> tuple[Any, Step]:
        """Takes one decision and, if the episode ended, starts the next; returns `(state, step)`."""
        ...

    def render(self, states: Any, *, width: int = 320, height: int = 240) -> np.ndarray:
        """Draws `states`, stacked along a leading time axis, as uint8 `[T, height, width, 3]`.

        Raises:
            RenderingUnavailable: If this machine or this task cannot draw; the message says what is missing.
        """
        ...


class RenderingUnavailable(RuntimeError):
    """The task cannot be drawn here; the message says what is missing."""
