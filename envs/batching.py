"""Taking a whole batch at once: what a function does under `vmap` when it knows better than elementwise."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, PyTree


def whole_batch(function: Callable) -> Callable:
    """Makes `vmap` hand `function` the whole batch, the new axis in front of every argument and result.

    Args:
        function: Takes and returns pytrees of arrays, with any number of leading batch axes.

    Returns:
        The function, which however many `vmap`s deep is called once.
    """
    call = custom_vmap(function)

    @call.def_vmap
    def rule(size, batched, *arguments):
        result = call(*broadcast(size, batched, arguments))
        return result, jax.tree.map(lambda _: True, result)

    return call


def broadcast(
    size: int, batched: Sequence[PyTree[bool]], arguments: Sequence[PyTree[Array]]
) -> tuple[PyTree[Array], ...]:
    """Gives every leaf of `arguments` the leading axis `size` that only the `batched` ones have."""

    def spread(x, has_axis):
        return x if has_axis else jnp.broadcast_to(x, (size, *jnp.shape(x)))

    return jax.tree.map(spread, tuple(arguments), tuple(batched))
