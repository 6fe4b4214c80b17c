"""Spaces for observations that a simulator describes only by example."""

from typing import Any

import gymnasium
import numpy as np


def unbounded(example: Any) -> gymnasium.Space:
    """Returns the space of all observations shaped like `example`: an array, or a (nested) dict of arrays."""
    if isinstance(example, dict):
        return gymnasium.spaces.Dict({name: unbounded(part) for name, part in example.items()})
    return gymnasium.spaces.Box(-np.inf, np.inf, example.shape, np.dtype(example.dtype))
