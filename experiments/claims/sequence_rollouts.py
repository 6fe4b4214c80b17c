"""Responses that are not all the policy's own: repaired, or joined with others'."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rlx.algorithms.responses import Responses
from rlx.envs.language.protocol import TokenTask
from rlx.training.responses import judged


def joined(*batches: Responses) -> Responses:
    """Batches on the same prompts as one, their groups put together."""
    return jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *batches)


def repaired(task: TokenTask, problems: Any, batch: Responses) -> Responses:
    """Responses of one turn with the first symbol put right that differs from the solution's.

    What comes after the end, if the repair has put one, is cut; a response that had ended too early does not go on.
    """
    solution = jax.vmap(task.solve)(problems)[:, None]
    differs = jnp.where(batch.present, batch.token, task.pad_token) != solution
    wrong = differs & (jnp.cumsum(differs, axis=-1) == 1)
    token = jnp.where(wrong, solution, batch.token)
    real = batch.present | wrong
    ended = jnp.cumsum((token == task.end_token) & real, axis=-1) - ((token == task.end_token) & real)
    present = real & (ended == 0)
    return judged(task, problems, jnp.where(present, token, task.pad_token), present, present)
