"""Responses that are not all the policy's own: given a beginning, repaired, or joined with others'."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray, PyTree

from envs.tokens.protocol import TokenTask
from rlx.algorithms.grpo import Batch
from rlx.policies import transformer
from rlx.training.sequences import judged


def repeated(problems: Any, times: int) -> Any:
    """Problems with a leading axis ``[prompt]``, each so many times in succession."""
    return jax.tree.map(lambda x: jnp.repeat(x, times, axis=0), problems)


def joined(*batches: Batch) -> Batch:
    """Batches on the same prompts as one, their groups put together."""
    return jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *batches)


def resumed(
    key: PRNGKeyArray,
    config: transformer.Config,
    params: PyTree,
    task: TokenTask,
    problems: Any,
    token: Int[Array, "prompt group time"],
    keep: Bool[Array, "prompt group time"],
    **sampling: Any,
) -> Batch:
    """Responses of which the beginning is given and the policy writes the rest; a multi-turn task answers in between.

    Args:
      key: random key.
      config: structure of the policy.
      params: its parameters.
      task: what verifies, and replies.
      problems: with a leading axis ``[prompt]``.
      token: tokens that the beginnings are taken from; replies are made anew.
      keep: True at the tokens of the beginnings: all of the policy's up to some point, none where nothing is given.
      sampling: as of ``transformer.decode``.
    """
    num_prompts, group_size = token.shape[:2]
    flat = lambda x: x.reshape(-1, x.shape[-1])
    token, keep = flat(token), flat(keep)
    of_each = repeated(problems, group_size)
    # Given and new tokens of a turn take up slots of their own.
    capacity = task.prompt_length + task.response_length + task.num_turns * task.turn_length
    state = transformer.prefill(config, params, problems.prompt, where=problems.where, capacity=capacity)
    state = transformer.repeat(state, group_size)
    options = {"max_new_tokens": task.turn_length, "stop_tokens": (task.end_token,), "pad_token": task.pad_token}
    tokens, present, own = [], [], []
    for turn in range(task.num_turns):
        begin = turn * (task.turn_length + task.reply_length)
        given, kept = (x[:, begin : begin + task.turn_length] for x in (token, keep))
        state = transformer.prefill(config, params, given, where=kept, state=state)
        goes_on = ~jnp.any(kept & (given == task.end_token), axis=-1) & (jnp.sum(kept, axis=-1) < task.turn_length)
        spoken, state = transformer.decode(
            jax.random.fold_in(key, turn), config, params, state, where=goes_on, **options, **sampling
        )
        # What is new comes after what is given, as far as there is room in the turn.
        place = jnp.arange(task.turn_length) - jnp.sum(kept, axis=-1, keepdims=True)
        after = lambda x: jnp.take_along_axis(x, jnp.maximum(place, 0), axis=-1)
        said = kept | ((place >= 0) & after(spoken.where))
        words = jnp.where(kept, given, jnp.where(said, after(spoken.tokens), task.pad_token))
        tokens.append(words), present.append(said), own.append(said)
        if turn + 1 < task.num_turns:
            reply, real = jax.vmap(task.reply, (0, 0, 0, None))(of_each, words, said, turn)
            state = transformer.prefill(config, params, reply, where=real, state=state)
            tokens.append(reply), present.append(real), own.append(jnp.zeros_like(real))
    grouped = lambda parts: jnp.concatenate(parts, axis=1).reshape(num_prompts, group_size, -1)
    return judged(task, problems, grouped(tokens), grouped(present), grouped(own))


def repaired(task: TokenTask, problems: Any, batch: Batch) -> Batch:
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
