"""Spaces for observations that a simulator describes only by example."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np


def unbounded(example: Any) -> gymnasium.Space:
    """Returns the space of all observations shaped like `example`: an array, or a (nested) dict of arrays."""
    if isinstance(example, Mapping):
        return gymnasium.spaces.Dict({name: unbounded(part) for name, part in example.items()})
    if np.issubdtype(example.dtype, np.bool_):
        return gymnasium.spaces.MultiBinary(example.shape)
    if np.issubdtype(example.dtype, np.unsignedinteger):  # whose box Gymnasium does not let be unbounded
        return gymnasium.spaces.Box(0, np.iinfo(example.dtype).max, example.shape, np.dtype(example.dtype))
    return gymnasium.spaces.Box(-np.inf, np.inf, example.shape, np.dtype(example.dtype))
