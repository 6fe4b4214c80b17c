"""How the contract test calls one function, and samplers of its arguments.

Sampled arguments are float32; hyperparameters that have a numeric default, and those given in
`hyperparameters`, are swept; `variants` are other static options, each put through every check.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

SHAPE = (4, 6)
Sampler = Callable[[np.random.Generator], Any]


class Example(NamedTuple):
    """How to call one function.

    arguments: sampler by argument name; of a controller, those of its `update`.
    hyperparameters: values of numeric keywords that have no numeric default.
    variants: keyword sets, each checked in full on top of the others.
    init: of a controller, the sampler of the argument of its `init`.
    mask: shape of `where`, for a function that has it.
    skips: checks that do not apply, by name, with the reason.
    """

    arguments: Mapping[str, Sampler]
    hyperparameters: Mapping[str, float] = {}
    variants: tuple[Mapping[str, Any], ...] = ({},)
    init: Sampler | None = None
    mask: tuple[int, ...] = SHAPE
    skips: Mapping[str, str] = {}


def normal(*shape: int, scale: float = 1.0, shift: float = 0.0) -> Sampler:
    return lambda rng: np.asarray(shift + scale * rng.normal(size=shape), np.float32)


def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Sampler:
    return lambda rng: np.asarray(rng.uniform(low, high, shape), np.float32)


def boolean(*shape: int) -> Sampler:
    return lambda rng: rng.random(shape) < 0.3


real = normal(*SHAPE)
positive = uniform(*SHAPE, low=0.5, high=2)
log_prob = uniform(*SHAPE, low=-2, high=-0.1)
