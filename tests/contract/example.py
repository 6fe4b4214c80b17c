"""How the contract test calls one function, and samplers of its arguments.

Sampled arguments are float32; hyperparameters that have a numeric default, and those given in
`hyperparameters`, are swept; `variants` are other static options, each put through every check.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
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


def integers(*shape: int, low: int = 0, high: int) -> Sampler:
    return lambda rng: rng.integers(low, high, shape)


def key(rng: np.random.Generator) -> jax.Array:
    return jax.random.key(int(rng.integers(2**31)))


def outcome(*shape: int) -> Sampler:
    """Rewards in {0, 1}, with both of them along the last axis."""

    def sampler(rng: np.random.Generator) -> np.ndarray:
        reward = (rng.random(shape) < 0.5).astype(np.float32)
        reward[..., 0], reward[..., -1] = 1, 0
        return reward

    return sampler


# What several slots take.

ACTION = (*SHAPE, 3)
"""One action of three dimensions per element."""

ROWS = SHAPE[0]

real = normal(*SHAPE)
positive = uniform(*SHAPE, low=0.5, high=2)
log_prob = uniform(*SHAPE, low=-2, high=-0.1)
per_row = normal(ROWS)

BOTH = {"log_prob": log_prob, "behavior_log_prob": log_prob}
SURROGATE = {**BOTH, "advantage": real}
TOKEN = {"log_prob": log_prob, "entropy": positive, "advantage": real}
SEQUENCE = {"advantage": per_row, "log_prob": log_prob}

LEVELS = tuple({"level": level} for level in ("token", "sequence", "sequence_mean", "prefix"))
DIVERGENCES = tuple({"divergence": name} for name in ("forward_kl", "jensen_shannon", "neyman", "alpha", "chi_mixed"))

# Why a check does not apply.

ANY_COUNTS = {"errors": "counts steps or tokens, and takes integers as well as floats"}
GIVES_BOOLEANS = {"dtype": "gives booleans"}
GIVES_INTEGERS = {"dtype": "gives integers"}
GIVES_NO_FLOATS = {"dtype": "its result is a mask or an index, of one dtype and without gradient"}
TAKES_NO_FLOATS = {"dtype": "takes no floating array, whose dtype could be kept"}
