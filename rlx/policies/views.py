"""What a network sees of an observation: observations stay the pytrees that they are, flattening is its business."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gymnasium
import jax
import jax.numpy as jnp
from gymnasium import spaces
from jaxtyping import Array, PyTree

from rlx.policies.networks import Network

View = Callable[[PyTree], PyTree]
"""From an observation, with any leading axes, to what a network takes."""


def seeing(network: Network, view: View) -> Network:
    """A network of what a view makes of observations.

    Args:
        network: `init`/`apply` of the view's result, and of further arguments such as an action.
        view: such as `vector_view` makes.

    Returns:
        A `Network` of observations.
    """
    return Network(
        init=lambda key, observation, *others: network.init(key, view(observation), *others),
        apply=lambda params, observation, *others: network.apply(params, view(observation), *others),
    )


def vector_view(space: gymnasium.Space, parts: Sequence[str] | None = None) -> View:
    """Observations of a space as vectors: one-hot for what is counted, row by row for arrays, parts end to end.

    Args:
        space: of one observation: Box, Discrete, MultiBinary, MultiDiscrete, Dict and Tuple, nested in any way.
        parts: of a `Dict`, the names that count, such as `("state",)`; None takes all, in the space's order.

    Returns:
        `[*batch, ...]` of the space to `[*batch, feature]` in float32.

    Raises:
        ValueError: a space of another kind, or names that it does not have.
    """
    if parts is not None:
        known = tuple(space.spaces) if isinstance(space, spaces.Dict) else ()
        if not parts or not set(parts) <= set(known):
            raise ValueError(f"parts of an observation must be among {known or 'none: it is no mapping'}, got {parts}")
        space = spaces.Dict([(name, space[name]) for name in parts])
    _check(space)
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and jnp.issubdtype(space.dtype, jnp.floating):
        return lambda observation: observation
    return lambda observation: _vector(space, observation)


def _check(space: gymnasium.Space) -> None:
    match space:
        case spaces.Dict():
            for part in space.spaces.values():
                _check(part)
        case spaces.Tuple():
            for part in space.spaces:
                _check(part)
        case spaces.Box() | spaces.MultiBinary() | spaces.Discrete() | spaces.MultiDiscrete():
            return
        case _:
            raise ValueError(
                f"observations must be of Box, Discrete, MultiBinary, MultiDiscrete, Dict and Tuple, got {space}"
            )


def _vector(space: gymnasium.Space, observation: PyTree) -> Array:
    match space:
        case spaces.Box() | spaces.MultiBinary():
            x = jnp.asarray(observation)
            return x.reshape(*x.shape[: x.ndim - len(space.shape)], -1).astype(jnp.float32)
        case spaces.Discrete():
            return jax.nn.one_hot(jnp.asarray(observation) - int(space.start), int(space.n))
        case spaces.MultiDiscrete():
            x = jnp.asarray(observation)
            x = x.reshape(*x.shape[: x.ndim - len(space.shape)], -1) - space.start.ravel()
            sizes = space.nvec.ravel()
            parts = [jax.nn.one_hot(x[..., i].astype(jnp.int32), int(size)) for i, size in enumerate(sizes)]
        case spaces.Dict():
            parts = [_vector(part, observation[name]) for name, part in space.spaces.items()]
        case spaces.Tuple():
            parts = [_vector(part, x) for part, x in zip(space.spaces, observation, strict=True)]
    return jnp.concatenate(parts, axis=-1)
