"""Carrying only what the next step reads.

A physics simulator's state holds everything that it computed on the way, most of which the next step computes
anew. Carried along, it is copied at every step, scattered at every reset and written into every checkpoint.
"""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from rlx.envs.episodes import Outcome


def slim(
    reset: Callable, step: Callable, action: jax.ShapeDtypeStruct, keep: tuple[str, ...] = ()
) -> tuple[Callable, Callable]:
    """Returns a task's `reset` and `step` with a state that holds only those leaves that a later step reads.

    What is read follows from the program of `step` itself (`leaves_read`); the leaves dropped are replaced by
    zeros that no result depends on. The slim state is a flat dict from a leaf's path to the leaf. Nothing is
    traced before the first call.

    Args:
        reset: `key -> (state, observation)`.
        step: `(state, action, key) -> Outcome`.
        action: Shape and dtype of an action.
        keep: Paths to carry even if no step reads them, such as what pictures are drawn from.

    Returns:
        The new `reset` and `step`.
    """

    @functools.cache
    def plan() -> tuple[tuple[str, ...], Any, dict[str, bool]]:
        key = jax.eval_shape(lambda: jax.random.key(0))
        state, _ = jax.eval_shape(reset, key)
        paths = tuple(jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state))
        read = leaves_read(step, state, action, key)
        return paths, state, {path: used or path in keep for path, used in zip(paths, read, strict=True)}

    def slim_down(state: PyTree) -> dict[str, jax.Array]:
        paths, _, carried = plan()
        return {path: x for path, x in zip(paths, jax.tree.leaves(state), strict=True) if carried[path]}

    def fill_up(slim_state: dict[str, jax.Array]) -> PyTree:
        paths, state, _ = plan()
        shapes, structure = jax.tree.flatten(state)
        leaves = [
            slim_state[path] if path in slim_state else jnp.zeros(shape.shape, shape.dtype)
            for path, shape in zip(paths, shapes, strict=True)
        ]
        return structure.unflatten(leaves)

    def slim_reset(key):
        state, observation = reset(key)
        return slim_down(state), observation

    def slim_step(state, action, key) -> Outcome:
        reached = step(fill_up(state), action, key)
        return reached._replace(state=slim_down(reached.state))

    return slim_reset, slim_step


def leaves_read(step: Callable, state: PyTree, *arguments: Any) -> list[bool]:
    """Tells for each leaf of `state` whether anything but the same leaf of a later state can depend on it.

    JAX's own elimination of dead code tells what a result depends on, as it does when `jax.jit` drops arguments
    that are not used. It looks into calls, branches and scans. A `while` loop, a function with a derivative of
    its own and anything opaque counts as a whole, and an effect, such as a callback, counts as a result.

    Args:
        step: `(state, *arguments) -> Outcome`, whose state has the structure of `state`.
        state: Example or shapes of the state.
        *arguments: Examples or shapes of the other arguments.

    Returns:
        One bool per leaf of `state`, True also where it cannot be told.
    """
    program, result = jax.make_jaxpr(step, return_shape=True)(state, *arguments)
    size, inputs = len(jax.tree.leaves(state)), len(jax.tree.leaves((state, arguments)))
    is_state = [field == "state" for field, part in result._asdict().items() for _ in jax.tree.leaves(part)]
    read = [False] * size
    while True:
        later = iter(read)
        wanted = [next(later) if of_state else True for of_state in is_state]
        now = [a or b for a, b in zip(read, _needed(program, wanted, inputs)[:size], strict=True)]
        if now == read:
            return read
        read = now


def _needed(program: Any, wanted: Sequence[bool], inputs: int) -> list[bool]:
    """Tells which of the `inputs` of a traced program its `wanted` outputs depend on: all, where JAX does not say."""
    # JAX does not promise to keep this function, hence the import in here: to carry everything is slow, not wrong.
    try:
        from jax.interpreters.partial_eval import dce_jaxpr

        _, needed = dce_jaxpr(getattr(program, "jaxpr", program), wanted)
        if len(needed) != inputs:
            raise ValueError(f"{len(needed)} answers for {inputs} inputs")
        return [bool(need) for need in needed]
    except Exception as error:
        warnings.warn(
            f"JAX {jax.__version__} does not tell what a step of the simulator reads, so its whole state is carried, "
            f"which is slow ({type(error).__name__}: {error})",
            RuntimeWarning,
            stacklevel=2,
        )
        return [True] * inputs
