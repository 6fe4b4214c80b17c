"""What has been achieved so far on each prompt."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from rlx.types import Controller, check_broadcast, check_choice, check_mask, floating


class BestLengthState(NamedTuple):
    """Length of each prompt's correct responses, inf for none, and how many of them it is taken over."""

    history: Float[Array, "prompt"]
    count: Float[Array, "prompt"]


def best_length(*, mode: str = "min") -> Controller:
    """Length of the shortest correct response so far to each prompt, as it was before each batch (HAPO).

    With ℓ the lengths of the n correct responses of the batch to a prompt: h ← min(h, min ℓ) for mode "min";
    h ← h + (n/(N + n))·(mean ℓ − h), N ← N + n for "mean", the average over all correct responses so far.

    Args:
        mode: static; "min" or "mean".

    Returns:
        A controller: `init(history)` takes the lengths known at the start [prompt], jnp.full(prompts, jnp.inf)
        for none; `update(state, prompt, length, correct, *, where=None)` takes integer prompt indices that
        stay the same across epochs, lengths in tokens and whether each response is correct, all [*batch],
        and gives (history before the batch of each response [*batch], 0 where masked, state), without
        gradient. `rlx.rewards.history_length` makes a reward of it.

    Raises:
        ValueError: for an unknown `mode`; from init and update, for a non-floating array, a non-boolean `where`,
            or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.controllers import best_length
        >>> controller = best_length()
        >>> state = controller.init(jnp.full(2, jnp.inf))
        >>> prompt, length, correct = jnp.array([0, 0]), jnp.array([50.0, 30.0]), jnp.array([True, False])
        >>> before, state = controller.update(state, prompt, length, correct)
        >>> before.tolist(), state.history.tolist()  # the shorter response is wrong, so that it does not count
        ([inf, inf], [50.0, inf])

    References:
        Huang et al., 2025, "HAPO: Training Language Models to Reason Concisely via History-Aware Policy
        Optimization", arXiv:2505.11225.
    """
    check_choice("mode", mode, ("min", "mean"))

    def init(history: Float[Array, "prompt"]) -> BestLengthState:
        (history,) = lax.stop_gradient(floating(history=history))
        return BestLengthState(history, jnp.isfinite(history).astype(history.dtype))

    def update(
        state: BestLengthState,
        prompt: Int[Array, "*batch"],
        length: Float[Array, "*batch"],
        correct: Bool[Array, "*batch"],
        *,
        where: Bool[Array, "*#batch"] | None = None,
    ) -> tuple[Array, BestLengthState]:
        check_mask(where)
        check_broadcast(prompt=prompt, length=length, correct=correct, where=where)
        (length,) = floating(length=length)
        history, count, length = lax.stop_gradient((*state, length.astype(state.history.dtype)))
        counted = jnp.broadcast_to(correct if where is None else correct & where, length.shape)
        before = history[prompt]
        before = before if where is None else jnp.where(where, before, 0)
        number = jnp.zeros_like(count).at[prompt].add(counted.astype(count.dtype))
        if mode == "min":
            history = history.at[prompt].min(jnp.where(counted, length, jnp.inf))
        else:
            known = jnp.where(count > 0, history, 0)
            total = known * count + jnp.zeros_like(history).at[prompt].add(jnp.where(counted, length, 0))
            history = jnp.where(count + number > 0, total / jnp.maximum(count + number, 1), jnp.inf)
        return before, BestLengthState(history, count + number)

    return Controller(init, update)
