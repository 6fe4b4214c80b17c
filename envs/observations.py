"""Observations as vectors, whatever their space: what a network that takes vectors can act on."""

import dataclasses

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Array, Float, Key, PyTree

from rlx.envs.protocol import Environment, Step
from rlx.envs.wrapper import Wrapper


@dataclasses.dataclass(frozen=True, eq=False)
class FlatObservations(Wrapper):
    """The same `environment`, its observations flattened. Made by `flatten_observations`."""

    @property
    def observation_space(self) -> spaces.Box:
        flat = spaces.flatten_space(self.environment.observation_space)
        return spaces.Box(flat.low.astype(np.float32), flat.high.astype(np.float32), dtype=np.float32)

    def reset(self, key: Key[Array, ""]) -> tuple[PyTree[Array], Float[Array, " features"]]:
        state, observation = self.environment.reset(key)
        return state, flatten(self.environment.observation_space, observation)

    def step(self, state: PyTree[Array], action: Array, key: Key[Array, ""]) -> tuple[PyTree[Array], Step]:
        state, step = self.environment.step(state, action, key)
        space = self.environment.observation_space
        return state, step._replace(
            observation=flatten(space, step.observation),
            next_observation=flatten(space, step.next_observation),
        )


def flatten_observations(environment: Environment) -> Environment:
    """Returns the same environment with observations that are float32 vectors.

    Keys, states, steps and pictures stay as they are. An environment whose observations are such vectors
    already is returned itself.

    Args:
        environment: Its observation space is made of Box, Discrete, MultiBinary, MultiDiscrete, Dict and
            Tuple, nested in any way.

    Returns:
        An environment whose observations are as `flatten` makes them and whose observation space is a Box.

    Raises:
        ValueError: If the observation space holds anything else.
    """
    space = environment.observation_space
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.dtype == np.float32:
        return environment
    jax.eval_shape(lambda key: flatten(space, environment.reset(key)[1]), jax.random.key(0))
    return FlatObservations(environment)


def flatten(space: gymnasium.Space, observation: PyTree[Array]) -> Float[Array, " features"]:
    """Flattens one observation: one-hot for what is counted, row by row for arrays, parts end to end.

    Args:
        space: The space of the observation.
        observation: One element of it, as arrays.

    Raises:
        ValueError: If the space holds anything but Box, Discrete, MultiBinary, MultiDiscrete, Dict and Tuple.
    """
    match space:
        case spaces.Box() | spaces.MultiBinary():
            return jnp.ravel(observation).astype(jnp.float32)
        case spaces.Discrete():
            return jax.nn.one_hot(observation - int(space.start), int(space.n))
        case spaces.MultiDiscrete():
            digits = (jnp.ravel(observation) - space.start.ravel()).astype(jnp.int32)
            parts = [jax.nn.one_hot(digit, int(n)) for digit, n in zip(digits, space.nvec.ravel(), strict=True)]
        case spaces.Dict():
            parts = [flatten(part, observation[name]) for name, part in space.spaces.items()]
        case spaces.Tuple():
            parts = [flatten(part, x) for part, x in zip(space.spaces, observation, strict=True)]
        case _:
            raise ValueError(
                "observations must be of Box, Discrete, MultiBinary, MultiDiscrete, Dict and Tuple, "
                f"got the space {space}"
            )
    return jnp.concatenate(parts)
