"""Groups of responses that teach something: sampled until there are enough, and retried where they fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rlx.algorithms.responses import Responses
from rlx.policies import transformer
from rlx.training.responses import Task, rollout


def filled(
    key: PRNGKeyArray,
    sample: Callable[[PRNGKeyArray, PyTree], tuple[Responses, dict[str, Array], PyTree]],
    prefer: Callable[[Responses], Float[Array, " prompt"]],
    state: PyTree = (),
    *,
    count: int,
    max_rounds: int,
) -> tuple[Responses, dict[str, Array], PyTree]:
    """Groups that teach something, from as many rounds of sampling as it takes (dynamic sampling).

    A round keeps the groups of positive score that were found before it, the earliest first, and fills up with its own.
    Where all rounds together find too few, the others stay in the batch with nothing to learn from: their `where` is
    False everywhere.

    Args:
        key: random key.
        sample: `(key, state) -> (batch, metrics, state)`, a round of at least `count` groups.
        prefer: score of each group, above 0 where it teaches something, as of `rlx.algorithms.grpo.Method`.
        state: what a round leaves to the next, such as which prompts were asked.
        count: static; groups that are wanted.
        max_rounds: static; rounds at most.

    Returns:
        The batch of `count` groups; the rounds' metrics, averaged, with `sampling_rounds` and `without_signal`, the
        share of the groups that teach nothing; and the state.

    References:
        Yu et al. (2025). DAPO: An Open-Source LLM Reinforcement Learning System at Scale. arXiv:2503.14476.
    """
    batch, metrics, _ = jax.eval_shape(sample, key, state)
    none = jax.tree.map(lambda x: jnp.zeros((count, *x.shape[1:]), x.dtype), batch)
    sums = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), metrics)

    def lacking(carry: tuple) -> Array:
        _, score, _, _, rounds = carry
        return (rounds < max_rounds) & jnp.any(score <= 0)

    def one_round(carry: tuple) -> tuple:
        kept, score, sums, state, rounds = carry
        fresh, metrics, state = sample(jax.random.fold_in(key, rounds), state)
        # Of equal scores `top_k` takes the first, so that what was found stays.
        scores = jnp.concatenate([score, jnp.asarray(prefer(fresh), jnp.float32)])
        score, best = jax.lax.top_k(scores, count)
        kept = jax.tree.map(lambda *x: jnp.concatenate(x)[best], kept, fresh)
        return kept, score, jax.tree.map(jnp.add, sums, metrics), state, rounds + 1

    start = none, jnp.full(count, -jnp.inf), sums, state, jnp.zeros((), jnp.int32)
    batch, score, sums, state, rounds = jax.lax.while_loop(lacking, one_round, start)
    teaches = score > 0
    batch = batch._replace(where=batch.where & teaches[:, None, None])
    metrics = jax.tree.map(lambda x: x / rounds, sums)
    found = {"sampling_rounds": rounds * 1.0, "without_signal": jnp.mean(~teaches * 1.0)}
    return batch, metrics | found, state


def retried(
    key: PRNGKeyArray,
    config: transformer.Config,
    params: PyTree,
    task: Task,
    problems: Any,
    first: Responses,
    **sampling: Any,
) -> tuple[Responses, dict[str, Array]]:
    """Responses beside second ones, which go on from where the first went wrong, with credit to what comes after.

    A second response has the tokens before the first error of the first (all of the first anew where no step of it is
    wrong), and then goes its own way. Both learn from the tokens after that point. A response that is right is learned
    from as a whole, and has no second one: the `where` of its place is False everywhere.

    Args:
        key: random key.
        config: structure of the policy.
        params: its parameters.
        task: what verifies, and replies.
        problems: of `task.sample`, with a leading axis `[prompt]`.
        first: the responses `[prompt, group, ...]`.
        sampling: as of `rlx.training.responses.rollout`.

    Returns:
        The batch `[prompt, 2 group, ...]`, first responses before second ones, and the metric `retried_accuracy`: the
        share of the second responses that are right, 0 where there are none.

    References:
        Shi et al. (2026). R³L: Reflect-then-Retry Reinforcement Learning with Language-Guided Exploration, Pivotal
        Credit, and Positive Amplification. arXiv:2601.03715.
    """
    time = first.token.shape[-1]
    failed, pivot = ~first.correct[..., None], first.first_error[..., None]
    before = first.where & (jnp.arange(time) < pivot) & (pivot < time)
    given = (first.token, before)
    second = rollout(key, config, params, task, problems, group_size=first.token.shape[1], given=given, **sampling)
    rate = jnp.sum(second.correct & failed[..., 0]) / jnp.maximum(jnp.sum(failed), 1)
    first = first._replace(where=first.where & ~(failed & before))
    second = second._replace(where=second.where & failed & ~before)
    both = jax.tree.map(lambda *x: jnp.concatenate(x, axis=1), first, second)
    return both, {"retried_accuracy": rate}
