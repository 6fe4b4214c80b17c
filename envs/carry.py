"""Carrying only what the next step reads.

A physics simulator's state holds everything that it computed on the way, most of which the next step computes
anew. Carried along, it is copied at every step, scattered at every reset and written into every checkpoint.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jaxtyping import PyTree

from rlx.envs.episodes import Transition

_CALLS = {
    "jit",
    "pjit",
    "closed_call",
    "core_call",
    "checkpoint",
    "remat",
    "remat2",
    "custom_jvp_call",
    "custom_vjp_call",
}


def slim(
    reset: Callable, step: Callable, action: jax.ShapeDtypeStruct, keep: tuple[str, ...] = ()
) -> tuple[Callable, Callable]:
    """Returns a task's `reset` and `step` with a state that holds only those leaves that a later step reads.

    What is read follows from the program of `step` itself; the leaves dropped are replaced by zeros that no
    result depends on. The slim state is a flat dict from a leaf's path to the leaf. Nothing is traced before
    the first call.

    Args:
        reset: `key -> (state, observation)`.
        step: `(state, action, key) -> Transition`.
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

    def slim_step(state, action, key) -> Transition:
        reached = step(fill_up(state), action, key)
        return reached._replace(state=slim_down(reached.state))

    return slim_reset, slim_step


def leaves_read(step: Callable, state: PyTree, *arguments: Any) -> list[bool]:
    """Tells for each leaf of `state` whether anything but the same leaf of a later state can depend on it.

    Args:
        step: `(state, *arguments) -> Transition`, whose state has the structure of `state`.
        state: Example or shapes of the state.
        *arguments: Examples or shapes of the other arguments.

    Returns:
        One bool per leaf of `state`, True also where the program is too opaque to tell.
    """
    program, result = jax.make_jaxpr(step, return_shape=True)(state, *arguments)
    size = len(jax.tree.leaves(state))
    is_state = [field == "state" for field, part in result._asdict().items() for _ in jax.tree.leaves(part)]
    read = [False] * size
    while True:
        later = iter(read)
        wanted = [next(later) if of_state else True for of_state in is_state]
        now = [a or b for a, b in zip(read, _needed(program.jaxpr, wanted)[:size], strict=True)]
        if now == read:
            return read
        read = now


def _needed(program: core.Jaxpr, wanted: list[bool]) -> list[bool]:
    """Tells which inputs the `wanted` outputs depend on."""
    live = {v for v, want in zip(program.outvars, wanted, strict=True) if want and not isinstance(v, core.Literal)}
    for equation in reversed(program.eqns):
        outputs = [v in live for v in equation.outvars]
        if any(outputs):
            inputs = zip(equation.invars, _needed_by(equation, outputs), strict=True)
            live |= {v for v, needs in inputs if needs and not isinstance(v, core.Literal)}
    return [v in live for v in program.invars]


def _needed_by(equation: core.JaxprEqn, wanted: list[bool]) -> list[bool]:
    """Tells which inputs the `wanted` outputs of one equation depend on: all, but for calls and loops."""
    name, params = equation.primitive.name, equation.params
    if name in _CALLS:
        body = params.get("jaxpr") or params.get("call_jaxpr")
        return _needed(getattr(body, "jaxpr", body), wanted)
    if name == "cond":
        branches = [_needed(branch.jaxpr, wanted) for branch in params["branches"]]
        return [True, *map(any, zip(*branches, strict=True))]
    if name == "scan":
        carry, start = params["num_carry"], params["num_consts"]
        return _needed_by_loop(params["jaxpr"].jaxpr, wanted, start, carry)
    if name == "while":
        test, consts = params["cond_jaxpr"].jaxpr, params["cond_nconsts"]
        of_test = _needed(test, [True])
        of_carry = [a or b for a, b in zip(wanted, of_test[consts:], strict=True)]
        body = _needed_by_loop(params["body_jaxpr"].jaxpr, of_carry, params["body_nconsts"], len(wanted))
        return of_test[:consts] + body
    return [True] * len(equation.invars)


def _needed_by_loop(body: core.Jaxpr, wanted: list[bool], consts: int, carry: int) -> list[bool]:
    """As `_needed` for a body whose first `carry` outputs come back as the inputs after `consts`."""
    while True:
        needed = _needed(body, wanted)
        again = [a or b for a, b in zip(wanted[:carry], needed[consts : consts + carry], strict=True)] + wanted[carry:]
        if again == wanted:
            return needed[:consts] + wanted[:carry] + needed[consts + carry :]
        wanted = again
