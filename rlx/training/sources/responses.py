"""A language model's own responses, verified, and the solutions of the task that it writes them to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flashbax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from rlx.algorithms.grpo import GRPO_METHOD, Method, score
from rlx.algorithms.responses import Responses
from rlx.policies import transformer
from rlx.training.program import BY_RUN, REPLAY, Source, check_counts
from rlx.training.responses import Task, draw, judged, rollout
from rlx.training.responses import solutions as solutions_of
from rlx.types import Scalar


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
) -> Source:
    """Groups of responses of the sampling policy to a task's training prompts, with the verifier's verdicts.

    Groups that are replayed keep the log-probabilities of the policy that sampled them, so that ratios are those of
    importance sampling, however stale. `init` then samples groups for the first update to replay.

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

    Returns:
        A `Source` of `Responses` `[prompt, group, ...]` for `rlx.algorithms.grpo.learner`, whose states have
        `sampling_params`, `memory` and `update`. Its own state is the replay, or nothing.

    Raises:
        ValueError: a count below one; so many replayed prompts that none are sampled; a replay that cannot hold
            what an update adds or draws.
    """
    check_counts(num_prompts=num_prompts, group_size=group_size, oversample=oversample)
    num_fresh = num_prompts - replayed
    if not 0 <= replayed < num_prompts:
        raise ValueError(f"replayed must be at least 0 and below num_prompts={num_prompts}, got {replayed}")
    if replayed and replay_size < (needed := max(num_fresh, oversample * replayed)):
        raise ValueError(f"replay_size must hold the groups that an update adds or draws: {needed}, got {replay_size}")
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

    def sample(learner_state: PyTree, key: PRNGKeyArray) -> tuple[Responses, dict[str, Array]]:
        """Groups of responses of the sampling policy to new prompts."""
        draw_key, sample_key = jax.random.split(key)
        problems = draw(draw_key, task, "train", oversample * num_fresh)
        heat = jnp.asarray(temperature * method.temperature(learner_state.memory), jnp.float32)
        params = model(learner_state.sampling_params)
        batch = rollout(sample_key, config, params, task, problems, group_size=group_size, temperature=heat)
        metrics = {"sampled_accuracy": jnp.mean(batch.correct * 1.0)}
        if "solution" in method.uses:
            found = solutions_of(task, problems)
            batch = batch._replace(
                solution=found.token[:, 0], solution_present=found.present[:, 0], solution_where=found.where[:, 0]
            )
        (batch,) = preferred(batch, count=num_fresh)
        if replayed:
            distribution = "distribution" in method.uses
            scores = score(config, params, batch, temperature=heat, distribution=distribution)
            batch = batch._replace(
                behavior_log_prob=scores.log_prob, behavior_entropy=scores.entropy, behavior_logits=scores.logits
            )
        return batch, metrics

    def stored(past: PyTree, batch: Responses, update: Int[Array, ""]) -> PyTree:
        return buffer.add(past, (batch, jnp.broadcast_to(update, num_fresh)))

    def init(key: PRNGKeyArray, learner_state: PyTree) -> tuple[PyTree, PyTree]:
        if not replayed:
            return (), learner_state
        batch, _ = sample(learner_state, key)
        past = buffer.init(jax.tree.map(lambda x: x[0], (batch, learner_state.update[None])))
        return stored(past, batch, learner_state.update), learner_state

    def collect(past: PyTree, learner_state: PyTree, key: PRNGKeyArray) -> tuple[PyTree, Responses, dict[str, Array]]:
        sample_key, replay_key = jax.random.split(key)
        batch, metrics = sample(learner_state, sample_key)
        if replayed:
            stale, born = preferred(*buffer.sample(past, replay_key).experience, count=replayed)
            metrics["staleness"] = jnp.mean(learner_state.update - born)
            past = stored(past, batch, learner_state.update)
            batch = jax.tree.map(lambda *x: jnp.concatenate(x), batch, stale)
        return past, batch, metrics

    def blank(key: PRNGKeyArray) -> Responses:
        token = jnp.full((num_prompts, group_size, task.response_length), task.pad_token)
        return judged(task, draw(key, task, "train", num_prompts), token, token < 0, token < 0)

    return Source(lambda key: zeros_like(blank, key), init, collect, layout=REPLAY if replayed else BY_RUN)


def solutions(task: Task, *, batch_size: int = 128, updates_per_step: int = 1) -> Source:
    """The task's own solutions of its training problems, to imitate (`rlx.algorithms.sft.learner`).

    Args:
        task: what has the solutions.
        batch_size: solutions of an update.
        updates_per_step: updates of a step of the program.

    Returns:
        A `Source` of `Responses` in groups of one, without a state.

    Raises:
        ValueError: a count below one.
    """
    check_counts(batch_size=batch_size, updates_per_step=updates_per_step)

    def solved(key: PRNGKeyArray) -> Responses:
        return solutions_of(task, draw(key, task, "train", batch_size))

    return Source(
        example=lambda key: zeros_like(solved, key),
        init=lambda key, learner_state: ((), learner_state),
        collect=lambda state, learner_state, key: ((), None, {}),
        draw=lambda state, fresh, key: solved(key),
        updates=updates_per_step,
    )


def zeros_like(function: Callable, *arguments: Any) -> PyTree:
    """Zeros in the shapes of what a function would give; it is not run, a verifier may call the host."""
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, *arguments))
