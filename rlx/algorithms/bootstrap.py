"""Values to bootstrap from, exact at truncations and cheap elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

ROWS_PER_CALL = 256
"""Truncated steps that are valued at a time."""
ROWS_PER_PASS = 1 << 16
"""Steps of a rollout that are valued at a time: a pass's temporaries are some ten times what the rollout stores."""


def rollout_values(
    value_fn: Callable[[PyTree], Float[Array, "*batch"]],
    observation: PyTree,
    next_observation: PyTree,
    terminated: Bool[Array, "time env"],
    truncated: Bool[Array, "time env"],
) -> tuple[Float[Array, "time env"], Float[Array, "time env"]]:
    """V(s_t) and V(s'_t) of a rollout, where s'_t is the observation reached *before* any reset.

    Within an episode s'_t is s_{t+1}, whose value is known. Only the last row and the truncated steps need values
    of their own; truncations are rare, so a loop evaluates them a few hundred at a time (no trip where there is none).
    This costs one critic pass over the rollout instead of two.

    Args:
        value_fn: observations `[n, ...]` to values `[n]`.
        observation: pytree of `[time, env, ...]`.
        next_observation: pytree of `[time, env, ...]`.
        terminated: where the task ended; next values there are arbitrary (their discount is 0).
        truncated: where the episode was cut.

    Returns:
        `(value, next_value)`, both `[time, env]`.
    """
    time, env = truncated.shape
    count = time * env
    last = jax.tree.map(lambda x: x[-1], next_observation)
    steps = max(1, ROWS_PER_PASS // env)
    if steps >= time:
        value = value_fn(jax.tree.map(lambda x: x.reshape(count, *x.shape[2:]), observation))
    else:
        # Along time, since environments may lie on several devices.
        value = jax.lax.map(value_fn, observation, batch_size=steps).reshape(count)
    next_value = jnp.concatenate([value[env:], value_fn(last)])

    flat_next = jax.tree.map(lambda x: x.reshape(count, *x.shape[2:]), next_observation)
    # The last row has its value already.
    pending = truncated.at[-1].set(False).reshape(count)
    rows = min(ROWS_PER_CALL, count)

    def evaluate_some(carry):
        pending, next_value = carry
        (index,) = jnp.nonzero(pending, size=rows, fill_value=count)
        reached = jax.tree.map(lambda x: jnp.take(x, index, axis=0, mode="clip"), flat_next)
        next_value = next_value.at[index].set(value_fn(reached), mode="drop")
        return pending.at[index].set(False, mode="drop"), next_value

    _, next_value = jax.lax.while_loop(lambda carry: jnp.any(carry[0]), evaluate_some, (pending, next_value))
    return value.reshape(time, env), next_value.reshape(time, env)
