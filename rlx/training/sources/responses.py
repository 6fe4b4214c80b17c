"""A language model's own responses, verified, and the solutions of the task that it writes them to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flashbax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from rlx.algorithms.grpo import GRPO_METHOD, Method, score
from rlx.algorithms.responses import Responses
from rlx.policies import transformer
from rlx.training.groups import filled, retried
from rlx.training.program import BY_RUN, REPLAY, Source, check_counts
from rlx.training.responses import ListedTask, Task, draw, judged, listed, rollout
from rlx.training.responses import solutions as solutions_of
from rlx.training.sources import epochs
from rlx.types import Scalar


class ResponsesState(NamedTuple):
    """State of a source of responses.

    Attributes:
        past: groups to be replayed; nothing where none are.
        order: how far the passes over the training prompts have come; nothing where prompts are made without end.
    """

    past: PyTree = ()
    order: epochs.Epochs | tuple = ()


def responses(
    task: Task,
    config: transformer.Config,
    *,
    method: Method = GRPO_METHOD,
    model: Callable[[PyTree], PyTree] = lambda params: params,
    num_prompts: int = 16,
    group_size: int = 8,
    oversample: int = 1,
    replayed: int = 0,
    replay_size: int = 512,
    temperature: Scalar = 1.0,
    rows: int | None = None,
) -> Source:
    """Groups of responses of the sampling policy to a task's training prompts, with the verifier's verdicts.

    Groups that are replayed keep the log-probabilities of the policy that sampled them, so that ratios are those of
    importance sampling, however stale. `init` then samples groups for the first update to replay.

    The prompts of a `rlx.training.responses.ListedTask` are taken without replacement: all of them once, in an order of
    its own for each seed and each pass, before any comes again. Those of another task are drawn at random.

    Args:
        task: where prompts come from and what judges responses.
        config: structure of the policy.
        method: what the learner optimizes; it says what a batch must hold, which groups are preferred, and at which
            temperature they are sampled.
        model: from what is learned to the policy's parameters, as of `rlx.algorithms.grpo.learner`.
        num_prompts: prompts of an update.
        group_size: responses to each.
        oversample: prompts sampled, or drawn from the replay, for each that is learned from; those that the method
            prefers are kept.
        replayed: how many prompts of an update, with their groups, are drawn from the replay, uniformly and with
            replacement, instead of being sampled.
        replay_size: groups that the replay keeps; the oldest make room. A method that uses distributions keeps theirs.
        temperature: of sampling, times that of the method.
        rows: static; responses that are sampled at a time, as of `rlx.training.responses.rollout`; None for all.

    Returns:
        A `Source` of `Responses` `[prompt, group, ...]` for `rlx.algorithms.grpo.learner`, whose states have
        `sampling_params`, `memory` and `update`. Of a `ListedTask` the metric `epoch` tells the passes that are done.

    Raises:
        ValueError: a count below one; so many replayed prompts that none are sampled; a replay that cannot hold
            what an update adds or draws; an odd group of a method that retries.
    """
    check_counts(num_prompts=num_prompts, group_size=group_size, oversample=oversample)
    num_fresh = num_prompts - replayed
    if not 0 <= replayed < num_prompts:
        raise ValueError(f"replayed must be at least 0 and below num_prompts={num_prompts}, got {replayed}")
    if replayed and replay_size < (needed := max(num_fresh, oversample * replayed)):
        raise ValueError(f"replay_size must hold the groups that an update adds or draws: {needed}, got {replay_size}")
    if method.retries and group_size % 2:
        raise ValueError(f"group_size must be even, since half of a group are second attempts, got {group_size}")
    if replayed:
        buffer = flashbax.make_item_buffer(
            max_length=replay_size, min_length=1, sample_batch_size=oversample * replayed, add_batches=True
        )

    def preferred(batch: Responses, *others: PyTree, count: int) -> tuple:
        """The groups that the method prefers, with what belongs to them."""
        if oversample == 1:
            return batch, *others
        _, best = jax.lax.top_k(method.prefer(batch), count)
        # Empty trees stay empty: fields that are not known yet.
        return jax.tree.map(lambda x: x[best], (batch, *others))

    def attempt(learner_state: PyTree, key: PRNGKeyArray, order: PyTree) -> tuple[Responses, dict[str, Array], PyTree]:
        """A round of groups of responses of the sampling policy to new prompts."""
        draw_key, sample_key = jax.random.split(key)
        problems, order = next_problems(draw_key, task, order, oversample * num_fresh)
        heat = jnp.asarray(temperature * method.temperature(learner_state.memory), jnp.float32)
        params = model(learner_state.sampling_params)
        size = group_size // 2 if method.retries else group_size
        batch = rollout(sample_key, config, params, task, problems, group_size=size, rows=rows, temperature=heat)
        metrics = {"sampled_accuracy": jnp.mean(batch.correct * 1.0)}
        if method.retries:
            retry_key = jax.random.fold_in(sample_key, task.num_turns)
            batch, found = retried(retry_key, config, params, task, problems, batch, temperature=heat)
            metrics |= found
        if "solution" in method.uses:
            found = solutions_of(task, problems)
            batch = batch._replace(
                solution=found.token[:, 0],
                solution_present=found.present[:, 0],
                solution_where=found.where[:, 0],
                solution_correct=found.correct[:, 0],
                solution_reward=found.reward[:, 0],
            )
            metrics["solution_accuracy"] = jnp.mean(found.correct * 1.0)
        return batch, metrics, order

    def sample(learner_state: PyTree, key: PRNGKeyArray, order: PyTree) -> tuple[Responses, dict[str, Array], PyTree]:
        """Groups of responses of the sampling policy to new prompts, as many as an update samples."""
        if method.max_rounds > 1:
            batch, metrics, order = filled(
                key,
                partial(attempt, learner_state),
                method.prefer,
                order,
                count=num_fresh,
                max_rounds=method.max_rounds,
            )
        else:
            batch, metrics, order = attempt(learner_state, key, order)
            (batch,) = preferred(batch, count=num_fresh)
        if replayed:
            distribution = "distribution" in method.uses
            params = model(learner_state.sampling_params)
            scores = score(config, params, batch, temperature=batch.temperature, distribution=distribution)
            batch = batch._replace(
                behavior_log_prob=scores.log_prob, behavior_entropy=scores.entropy, behavior_logits=scores.logits
            )
        if isinstance(task, ListedTask):
            metrics["epoch"] = order.done(task.num_problems("train"))
        return batch, metrics, order

    def stored(past: PyTree, batch: Responses, update: Int[Array, ""]) -> PyTree:
        return buffer.add(past, (batch, jnp.broadcast_to(update, num_fresh)))

    def init(key: PRNGKeyArray, learner_state: PyTree) -> tuple[ResponsesState, PyTree]:
        order = first_order(key, task)
        if not replayed:
            return ResponsesState(order=order), learner_state
        batch, _, order = sample(learner_state, key, order)
        past = buffer.init(jax.tree.map(lambda x: x[0], (batch, learner_state.update[None])))
        return ResponsesState(stored(past, batch, learner_state.update), order), learner_state

    def collect(
        state: ResponsesState, learner_state: PyTree, key: PRNGKeyArray
    ) -> tuple[ResponsesState, Responses, dict[str, Array]]:
        sample_key, replay_key = jax.random.split(key)
        batch, metrics, order = sample(learner_state, sample_key, state.order)
        past = state.past
        if replayed:
            stale, born = preferred(*buffer.sample(past, replay_key).experience, count=replayed)
            metrics["staleness"] = jnp.mean(learner_state.update - born)
            past = stored(past, batch, learner_state.update)
            batch = jax.tree.map(lambda *x: jnp.concatenate(x), batch, stale)
        return ResponsesState(past, order), batch, metrics

    def blank(key: PRNGKeyArray) -> Responses:
        token = jnp.full((num_prompts, group_size, task.response_length), task.pad_token)
        return judged(task, draw(key, task, "train", num_prompts), token, token < 0, token < 0)

    layout = ResponsesState(past=REPLAY, order=BY_RUN)
    return Source(lambda key: zeros_like(blank, key), init, collect, layout=layout)


def solutions(task: Task, *, batch_size: int = 128, updates_per_step: int = 1) -> Source:
    """The task's own solutions of its training problems, to imitate (`rlx.algorithms.sft.learner`).

    Args:
        task: what has the solutions.
        batch_size: solutions of an update.
        updates_per_step: updates of a step of the program.

    Returns:
        A `Source` of `Responses` in groups of one. Of a `ListedTask` its state is the order of the problems, which are
        taken without replacement as in `responses`; of another task it has none.

    Raises:
        ValueError: a count below one.
    """
    check_counts(batch_size=batch_size, updates_per_step=updates_per_step)

    def solved(key: PRNGKeyArray) -> Responses:
        return solutions_of(task, draw(key, task, "train", batch_size))

    example = lambda key: zeros_like(solved, key)
    init = lambda key, learner_state: (first_order(key, task), learner_state)
    if not isinstance(task, ListedTask):
        collect = lambda state, learner_state, key: (state, None, {})
        return Source(example, init, collect, lambda state, fresh, key: solved(key), updates_per_step)

    def take(order: epochs.Epochs, learner_state: PyTree, key: PRNGKeyArray) -> tuple[epochs.Epochs, Array, dict]:
        size = task.num_problems("train")
        index, order = epochs.take(order, size, updates_per_step * batch_size)
        return order, index.reshape(updates_per_step, batch_size), {"epoch": order.done(size)}

    solve = lambda order, index, key: solutions_of(task, listed(task, "train", index))
    return Source(example, init, take, solve, updates_per_step, each=True)


def first_order(key: PRNGKeyArray, task: Task) -> epochs.Epochs | tuple:
    """In which order the training problems of a task will be taken; nothing where they are made without end."""
    # Apart from what else the key is split into.
    return epochs.begin(jax.random.fold_in(key, 2)) if isinstance(task, ListedTask) else ()


def next_problems(key: PRNGKeyArray, task: Task, order: epochs.Epochs | tuple, count: int) -> tuple[Any, PyTree]:
    """The training problems that come next, with a leading axis `[prompt]`, and the order of what follows them."""
    if not isinstance(task, ListedTask):
        return draw(key, task, "train", count), order
    index, order = epochs.take(order, task.num_problems("train"), count)
    return listed(task, "train", index), order


def zeros_like(function: Callable, *arguments: Any) -> PyTree:
    """Zeros in the shapes of what a function would give; it is not run, a verifier may call the host."""
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, *arguments))
