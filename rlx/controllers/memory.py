"""Values of a run's past: the first one, and the mean of all."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Controller, Scalar, elements, floating


class FirstValueState(NamedTuple):
    """The first value, and whether there has been one."""

    value: Float[Array, "..."]
    seen: Bool[Array, ""]


class RunningMeanState(NamedTuple):
    """Number of values seen and their mean, per element."""

    count: Float[Array, "..."]
    mean: Float[Array, "..."]


def first_value() -> Controller:
    """Anchor that keeps the first value it is given (SIREN).

    v ← x at the first update, and v ← v from then on.

    Args:
        (none)

    Returns:
        A controller: `init(example)` takes a value, of which only shape and dtype matter; `update(state, x)`
        gives (v, state), without gradient.

    Raises:
        ValueError: from init and update, if the value is not floating.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.controllers import first_value
        >>> controller = first_value()
        >>> state = controller.init(jnp.array(0.0))
        >>> _, state = controller.update(state, jnp.array(2.5))
        >>> anchor, state = controller.update(state, jnp.array(7.0))
        >>> float(anchor)
        2.5

    References:
        Jiang et al., 2025, "Rethinking Entropy Regularization in Large Reasoning Models", arXiv:2509.25133
        (anchors the entropy at that of the first batch).
    """

    def init(example: Scalar) -> FirstValueState:
        (example,) = floating(example=example)
        return FirstValueState(jnp.zeros_like(example), jnp.asarray(False))

    def update(state: FirstValueState, x: Scalar) -> tuple[Array, FirstValueState]:
        (x,) = floating(x=x)
        value = jnp.where(state.seen, state.value, lax.stop_gradient(x).astype(state.value.dtype))
        return value, FirstValueState(value, jnp.asarray(True))

    return Controller(init, update)


def running_mean() -> Controller:
    """Mean of all values of each element, of which each may have been seen a different number of times (EPO).

    n ← n + m,  μ ← μ + m·(x − μ) / n with the mask m; μ = 0 before the first value. An episode that ends before
    the last turn leaves the means of the turns that it has not reached as they are.

    Args:
        (none)

    Returns:
        A controller: `init(example)` takes an array of the shape of one value, such as [turn];
        `update(state, x, *, where=None)` takes one value and gives (μ, state), without gradient. Statistics are
        float32, or float64 for float64 examples.

    Raises:
        ValueError: from init and update, for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.controllers import running_mean
        >>> controller = running_mean()
        >>> state = controller.init(jnp.zeros(2))
        >>> _, state = controller.update(state, jnp.array([1.0, 9.0]), where=jnp.array([True, False]))
        >>> mean, state = controller.update(state, jnp.array([3.0, 5.0]))
        >>> mean.tolist(), state.count.tolist()
        ([2.0, 5.0], [2.0, 1.0])

    References:
        Xu et al., 2025, "EPO: Entropy-regularized Policy Optimization for LLM Agents Reinforcement Learning",
        arXiv:2509.22576 (history of the entropy at each turn).
    """

    def init(example: Array) -> RunningMeanState:
        (example,) = floating(example=example)
        zeros = jnp.zeros(example.shape, jnp.promote_types(example.dtype, jnp.float32))
        return RunningMeanState(zeros, zeros)

    def update(state: RunningMeanState, x: Array, *, where: Array | None = None) -> tuple[Array, RunningMeanState]:
        (x,) = lax.stop_gradient(elements(x=x, where=where))
        seen = jnp.broadcast_to(True if where is None else where, state.mean.shape)
        count = state.count + seen
        change = jnp.where(seen, x - state.mean, 0) / jnp.maximum(count, 1)
        state = RunningMeanState(count, state.mean + change)
        return state.mean.astype(x.dtype), state

    return Controller(init, update)
