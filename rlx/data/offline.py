"""From logged trajectories to the arrays that offline methods train on."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Num, PyTree

from rlx.reduce import mean
from rlx.types import Scalar, check_mask, elements, like


class Transitions(NamedTuple):
    """Neighboring rows of a log, and which of the pairs are transitions; all arrays are one row shorter."""

    step: PyTree[Array]
    next_step: PyTree[Array]
    terminal: Bool[Array, "row"]
    where: Bool[Array, "row"]


def transitions(
    trajectory_arrays: PyTree[Array],
    *,
    terminal: Bool[Array, "row"] | Num[Array, "row"],
    timeout: Bool[Array, "row"] | Num[Array, "row"],
) -> Transitions:
    """Pairs of rows (t, t + 1) of episodes logged one after another, and which are transitions (D4RL).

    where_t = not timeout_t, for t = 0 … N − 2: a row cut by a time limit has its next observation in another
    episode, and nothing to bootstrap from. A terminal row is kept: its next row belongs to another episode as
    well, but the discount γ·(1 − terminal) makes it count for nothing. A timeout is never a terminal. The shape
    does not depend on the flags; select rows with `where` outside a compiled function.

    Args:
        trajectory_arrays: rows [row, ...], an array or a pytree of arrays such as observation, action and
            reward.
        terminal: True or 1 where the environment ended the episode [row].
        timeout: True or 1 where a time limit ended it [row].

    Returns:
        A `Transitions` with rows t in `step` and t + 1 in `next_step`.

    Raises:
        ValueError: if arrays and flags differ in length, or have fewer than two rows.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.data import transitions
        >>> flags = {"terminal": jnp.array([0, 0, 0, 1]), "timeout": jnp.array([0, 1, 0, 0])}
        >>> data = transitions({"observation": jnp.arange(4.0)}, **flags)
        >>> data.next_step["observation"].tolist(), data.where.tolist()
        ([1.0, 2.0, 3.0], [True, False, True])

    References:
        Fu et al., 2020, "D4RL: Datasets for Deep Data-Driven Reinforcement Learning", arXiv:2004.07219.
    """
    terminal, timeout = jnp.asarray(terminal, bool), jnp.asarray(timeout, bool)
    rows = {x.shape[:1] for x in jax.tree.leaves(trajectory_arrays)} | {terminal.shape, timeout.shape}
    if len(rows) != 1 or len(*rows) != 1 or max(*rows) < 2:
        raise ValueError(
            f"trajectory_arrays, terminal and timeout must have the same number of rows, at least 2, and the flags "
            f"no other axis, got {sorted(rows)}"
        )
    return Transitions(
        step=jax.tree.map(lambda x: x[:-1], trajectory_arrays),
        next_step=jax.tree.map(lambda x: x[1:], trajectory_arrays),
        terminal=terminal[:-1],
        where=~timeout[:-1],
    )


class NormalizedStates(NamedTuple):
    """Normalized states with what normalizes others: (state − mean) / scale."""

    states: Float[Array, "*batch feature"]
    mean: Float[Array, "feature"]
    scale: Float[Array, "feature"]


def normalize_states(
    states: Float[Array, "*batch feature"],
    *,
    eps: Scalar = 1e-3,
    where: Bool[Array, "*#batch"] | None = None,
) -> NormalizedStates:
    """States of a dataset in units of their standard deviation around their mean, per feature (TD3+BC).

    y = (s − μ) / (σ + eps), with μ and σ over the whole dataset, never over a minibatch. In evaluation states
    are normalized by the same numbers.

    Args:
        states: s [*batch, feature].
        eps: added to the standard deviation.
        where: boolean mask [*batch], True where a state counts.

    Returns:
        A `NormalizedStates`, without gradient, whose states are 0 where masked.

    Raises:
        ValueError: for non-floating states, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.data import normalize_states
        >>> data = normalize_states(jnp.array([[1.0, 10.0], [3.0, 30.0]]), eps=0.0)
        >>> data.states.tolist(), data.mean.tolist()
        ([[-1.0, -1.0], [1.0, 1.0]], [2.0, 20.0])

    References:
        Fujimoto and Gu, 2021, "A Minimalist Approach to Offline Reinforcement Learning", arXiv:2106.06860.
    """
    check_mask(where)
    mask = None if where is None else jnp.expand_dims(where, -1)
    (states,) = lax.stop_gradient(elements(states=states, where=mask))
    (eps,) = like(states, eps)
    wide, axes = states.astype(jnp.promote_types(states.dtype, jnp.float32)), tuple(range(states.ndim - 1))
    average = mean(wide, where=mask, axis=axes)
    centered = wide - average if mask is None else jnp.where(mask, wide - average, 0)
    scale = jnp.sqrt(mean(jnp.square(centered), where=mask, axis=axes)) + lax.stop_gradient(eps)
    return NormalizedStates(*(x.astype(states.dtype) for x in (centered / scale, average, scale)))
