"""Types and argument checks that every function of rlx shares.

Shapes and dtypes are static under `jax.jit`, so the checks cost nothing in a compiled program.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array

Scalar = float | int | Array
"""A numeric hyperparameter: a Python number, or an array so that it can be traced and `vmap`ped."""


class Controller(NamedTuple):
    """A method with memory: `init(...) -> state` and `update(state, ...) -> (output, state)`."""

    init: Callable[..., Any]
    update: Callable[..., Any]


def floating(**named: ArrayLike) -> tuple[Array, ...]:
    """The arguments as arrays of their common floating dtype.

    Args:
        **named: array-likes by argument name; Python numbers adapt to the dtype of the others.

    Returns:
        The arrays, in the order given.

    Raises:
        ValueError: if an argument is an integer, boolean or complex array.
    """
    arrays = {name: jnp.asarray(x) for name, x in named.items()}
    for name, x in arrays.items():
        if not jnp.issubdtype(x.dtype, jnp.floating) and type(named[name]) is not int:
            raise ValueError(
                f"{name} must be a floating-point array, got dtype {x.dtype} with shape {x.shape}; "
                f"convert it with jnp.asarray({name}, jnp.float32)"
            )
    dtype = jnp.result_type(*arrays.values(), float)
    return tuple(x.astype(dtype) for x in arrays.values())


def like(x: Array, *hyperparameters: Scalar) -> tuple[Array, ...]:
    """Hyperparameters in the dtype of the data: a traced float32 sweep leaves bfloat16 data bfloat16."""
    return tuple(jnp.asarray(h, x.dtype) for h in hyperparameters)


def check_mask(where: ArrayLike | None) -> None:
    """Raises ValueError unless `where` is None or boolean: a float mask would be taken for weights."""
    if where is not None and (dtype := jnp.asarray(where).dtype) != jnp.bool_:
        raise ValueError(
            f"where must be a boolean mask (True where an element counts), got dtype {dtype}; "
            "compare it first, for example where=mask > 0"
        )


def check_broadcast(**named: ArrayLike | None) -> tuple[int, ...]:
    """The common shape of the arguments, one of which must have it in full.

    NumPy's rules alone would let a value of shape [N, 1] meet a target of shape [N] and make an [N, N] loss.

    Args:
        **named: array-likes by argument name; None is skipped.

    Returns:
        The broadcast shape.

    Raises:
        ValueError: if the shapes do not broadcast, or only to a shape that no argument has.
    """
    shapes = {name: jnp.shape(x) for name, x in named.items() if x is not None}
    listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    try:
        full = jnp.broadcast_shapes(*shapes.values())
    except ValueError:
        raise ValueError(f"shapes do not broadcast: {listed}; they must be equal, or 1 where they differ") from None
    if full not in shapes.values():
        raise ValueError(
            f"shapes broadcast to {full}, which no argument has: {listed}; "
            "this is an outer product, most often of [N] with [N, 1]: reshape so that equal axes line up"
        )
    return full


def elements(*, where: ArrayLike | None = None, **named: ArrayLike) -> tuple[Array, ...]:
    """The arguments of an elementwise function: checked, of one floating dtype, and 0 where masked.

    The mask is applied to the inputs, because a NaN that is only masked in the output still has the gradient
    NaN · 0 = NaN. A function that is 0 at zero inputs needs no second selection.

    Args:
        where: boolean mask, True where an element counts.
        **named: array-likes by argument name.

    Returns:
        The arrays, in the order given, broadcastable against each other.

    Raises:
        ValueError: for a non-boolean mask, a non-floating array, or shapes that do not fit.
    """
    check_mask(where)
    check_broadcast(**named, where=where)
    arrays = floating(**named)
    return arrays if where is None else tuple(jnp.where(where, x, 0) for x in arrays)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises ValueError unless the static option `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
