"""Numbers that change over a run."""

from __future__ import annotations

from typing import Any


def scheduled(value: Any, schedule: str, total: int) -> Any:
    """A number as a schedule of the gradient step, as `rlx.algorithms` and `optax` take it.

    Args:
        value: where it begins; may be a traced array, as in a sweep.
        schedule: `"linear"`, or along half a `"cosine"`, from there to zero; any other leaves the number as it is.
        total: gradient steps within which it comes to zero.
    """
    import jax.numpy as jnp

    # Products, since optax's own schedules would test whether a traced step size is zero.
    to_zero = {
        "linear": lambda step: value * (1.0 - step / float(total)),
        "cosine": lambda step: value * (1 + jnp.cos(jnp.pi * jnp.minimum(step / float(total), 1))) / 2,
    }
    return to_zero.get(schedule, value)
