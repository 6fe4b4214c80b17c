"""Responses to a task of tokens: problems are drawn, responses sampled and verified, policies judged by them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from rlx import reduce
from rlx.algorithms.grpo import score
from rlx.algorithms.responses import Responses
from rlx.diagnostics import majority_at_k, pass_at_k
from rlx.policies import transformer
from rlx.regularizers.divergence import kl_estimate
from rlx.training.program import check_counts


@runtime_checkable
class Task(Protocol):
    """What a program needs of a task of tokens; `envs.language` has some. Functions are of one problem.

    Attributes:
        prompt_length: tokens of a prompt, which is padded on the left.
        response_length: tokens of a response, which is padded on the right.
        pad_token: the padding.
        end_token: what ends a response.
        num_turns: turns of the policy.
        turn_length: tokens of each.
        reply_length: tokens that the environment appends between two turns.
    """

    prompt_length: int
    response_length: int
    pad_token: int
    end_token: int
    num_turns: int
    turn_length: int
    reply_length: int

    def sample(self, key: PRNGKeyArray, split: str) -> Any:
        """A problem with `prompt`, `where` and what the rest of it needs; split is "train" or "test"."""

    def solve(self, problem: Any) -> Int[Array, " time"]:
        """A solution."""

    def verify(self, problem: Any, token: Int[Array, " time"], where: Bool[Array, " time"]) -> Any:
        """A verdict with `correct`, `answer`, `first_error`, `step` and, where it is not 0 or 1, `reward`."""

    def reply(self, problem: Any, token: Int[Array, " turn"], where: Bool[Array, " turn"], turn: int) -> tuple:
        """What the environment answers to a turn: tokens and where they are real."""


def rollout(
    key: PRNGKeyArray,
    config: transformer.Config,
    params: PyTree,
    task: Task,
    problems: Any,
    *,
    group_size: int,
    given: tuple[Int[Array, "prompt group time"], Bool[Array, "prompt group time"]] | None = None,
    **sampling: Any,
) -> Responses:
    """Groups of responses to problems, verified; a multi-turn task answers between the policy's turns.

    Args:
        key: random key.
        config: structure of the policy.
        params: its parameters.
        task: what verifies, and replies.
        problems: of `task.sample`, with a leading axis `[prompt]`.
        group_size: responses to each.
        given: tokens that responses begin with, and True where they do: at all of the policy's up to some point of each
            turn, the rest of which it writes, none where nothing is given. Replies are made anew.
        sampling: temperature, top_k, top_p and min_p of `transformer.decode`. A learner scores its policy at the
            temperature, which the batch tells it. It knows nothing of the other three, under which tokens come from a
            distribution that is cut off: the ratios of such a batch are biased by what was cut.

    Returns:
        A batch whose reward is that of the verdict, or else 1 where the verifier accepts the response and 0 where not.
    """
    num_prompts = problems.prompt.shape[0]
    repeated = jax.tree.map(lambda x: jnp.repeat(x, group_size, axis=0), problems)
    capacity = task.prompt_length + task.response_length
    if given is not None:
        # Given and new tokens of a turn take up slots of their own.
        capacity += task.num_turns * task.turn_length
        beginning, kept = (x.reshape(num_prompts * group_size, task.response_length) for x in given)
    state = transformer.prefill(config, params, problems.prompt, where=problems.where, capacity=capacity)
    state = transformer.repeat(state, group_size)
    decode = {"max_new_tokens": task.turn_length, "stop_tokens": (task.end_token,), "pad_token": task.pad_token}
    tokens, present, own = [], [], []
    running = jnp.ones(num_prompts * group_size, bool)
    for turn in range(task.num_turns):
        turn_key = jax.random.fold_in(key, turn)
        if given is not None:
            begin = turn * (task.turn_length + task.reply_length)
            first, is_first = (x[:, begin : begin + task.turn_length] for x in (beginning, kept))
            state = transformer.prefill(config, params, first, where=is_first, state=state)
            running = ~jnp.any(is_first & (first == task.end_token), -1) & (jnp.sum(is_first, -1) < task.turn_length)
        spoken, state = transformer.decode(turn_key, config, params, state, where=running, **decode, **sampling)
        said, real = spoken.tokens, spoken.where
        if given is not None:
            # What is new comes after what is given, as far as there is room in the turn.
            place = jnp.arange(task.turn_length) - jnp.sum(is_first, axis=-1, keepdims=True)
            after = lambda x: jnp.take_along_axis(x, jnp.maximum(place, 0), axis=-1)
            real = is_first | ((place >= 0) & after(real))
            said = jnp.where(is_first, first, jnp.where(real, after(said), task.pad_token))
        tokens.append(said), present.append(real), own.append(real)
        if turn + 1 < task.num_turns:
            # A turn that ended early leaves slots free, which the cache skips: it advances for all sequences in step.
            reply, real = jax.vmap(task.reply, in_axes=(0, 0, 0, None))(repeated, said, real, turn)
            state = transformer.prefill(config, params, reply, where=real, state=state)
            tokens.append(reply), present.append(real), own.append(jnp.zeros_like(real))
    token, present, own = (jnp.concatenate(parts, axis=1) for parts in (tokens, present, own))
    grouped = lambda x: x.reshape(num_prompts, group_size, -1)
    batch = judged(task, problems, grouped(token), grouped(present), grouped(own))
    heat = jnp.asarray(sampling.get("temperature", 1.0), jnp.float32)
    return batch._replace(temperature=jnp.broadcast_to(heat, (num_prompts, group_size)))


def judged(
    task: Task,
    problems: Any,
    token: Int[Array, "prompt group time"],
    present: Bool[Array, "prompt group time"],
    where: Bool[Array, "prompt group time"],
) -> Responses:
    """Responses, whoever wrote them, as a batch with the verifier's verdicts, at a temperature of 1.

    Args:
        task: what verifies.
        problems: with a leading axis `[prompt]`.
        token: tokens of the responses.
        present: True at the real ones.
        where: True at those that may be learned from.
    """
    of_group = lambda problem, token, present: jax.vmap(task.verify, (None, 0, 0))(problem, token, present)
    verdict = jax.vmap(of_group)(problems, token, present)
    group = lambda x: jnp.broadcast_to(x[:, None], (*token.shape[:2], x.shape[-1]))
    return Responses(
        prompt=group(problems.prompt),
        prompt_where=group(problems.where),
        token=token,
        present=present,
        where=where,
        reward=getattr(verdict, "reward", verdict.correct * 1.0),
        correct=verdict.correct,
        answer=verdict.answer,
        first_error=verdict.first_error,
        step=verdict.step,
        temperature=jnp.ones(token.shape[:2]),
    )


def draw(key: PRNGKeyArray, task: Task, split: str, count: int) -> Any:
    """Problems of a split, with a leading axis `[prompt]`."""
    return jax.vmap(partial(task.sample, split=split))(jax.random.split(key, count))


def solutions(task: Task, problems: Any) -> Responses:
    """The task's own solutions as a batch of groups of one, to imitate; where they are replies, nothing is learned."""
    token = jax.vmap(task.solve)(problems)
    present = token != task.pad_token
    own = jnp.arange(task.response_length) % (task.turn_length + task.reply_length) < task.turn_length
    return judged(task, problems, token[:, None], present[:, None], (present & own)[:, None])


def evaluator(
    task: Task,
    config: transformer.Config,
    *,
    model: Callable[[PyTree], PyTree] = lambda params: params,
    num_prompts: int = 64,
    num_samples: int = 8,
    microbatch_size: int | None = None,
) -> Callable[[PyTree, PRNGKeyArray], dict[str, Array]]:
    """An evaluator of a learner of language models: how its policy does on test prompts.

    Args:
        task: where prompts come from and what judges responses.
        config: structure of the policy.
        model: from what is learned to the policy's parameters, as of `rlx.algorithms.grpo.learner`.
        num_prompts: test prompts.
        num_samples: responses to each.
        microbatch_size: static; responses that are scored at a time, as of `rlx.algorithms.grpo.learner`.

    Returns:
        `(learner_state, key) -> metrics` of `evaluate_policy`, for states whose parameters have `"policy"`; the drift
        is told where the state has the `first_params` to measure it from.

    Raises:
        ValueError: a count below one.
    """
    check_counts(eval_prompts=num_prompts, eval_samples=num_samples)

    def evaluate(learner_state: PyTree, key: PRNGKeyArray) -> dict[str, Array]:
        first_params = getattr(learner_state, "first_params", None)
        return evaluate_policy(
            key,
            config,
            model(learner_state.params["policy"]),
            task,
            num_prompts=num_prompts,
            num_samples=num_samples,
            microbatch_size=microbatch_size,
            first_params=None if first_params is None else model(first_params),
        )

    return evaluate


def evaluate_policy(
    key: PRNGKeyArray,
    config: transformer.Config,
    params: PyTree,
    task: Task,
    *,
    num_prompts: int,
    num_samples: int,
    microbatch_size: int | None = None,
    first_params: PyTree = None,
) -> dict[str, Float[Array, ""]]:
    """How a policy does on test prompts.

    Args:
        key: random key.
        config: structure of the policy.
        params: its parameters.
        task: where prompts come from and what judges responses.
        num_prompts: test prompts.
        num_samples: responses to each.
        microbatch_size: static; responses that are scored at a time.
        first_params: a policy whose divergence from this one is told; None for none.

    Returns:
        `eval_return_mean`: accuracy of greedy responses; `eval_return_std` over prompts; `eval_episode_length`:
        their tokens; `eval_stochastic_return_mean`: accuracy at temperature 1, which is pass@1; `eval_pass_at_k` and
        `eval_majority_at_k` for k the number of samples and, as `…_half_k`, for half of it; `eval_entropy`: nats
        per sampled token; `eval_drift`: KL(policy ‖ first policy), nats per sampled token.
    """
    draw_key, greedy_key, sample_key = jax.random.split(key, 3)
    problems = draw(draw_key, task, "test", num_prompts)
    greedy = rollout(greedy_key, config, params, task, problems, group_size=1, temperature=0.0)
    sampled = rollout(sample_key, config, params, task, problems, group_size=num_samples)
    half = max(1, num_samples // 2)
    scored = lambda params: score(config, params, sampled, microbatch_size=microbatch_size)
    scores = scored(params)
    metrics = {
        "eval_return_mean": jnp.mean(greedy.reward),
        "eval_return_std": jnp.std(greedy.reward),
        "eval_episode_length": jnp.mean(greedy.length * 1.0),
        "eval_stochastic_return_mean": jnp.mean(sampled.reward),
        "eval_pass_at_k": jnp.mean(pass_at_k(sampled.correct, k=num_samples)),
        "eval_pass_at_half_k": jnp.mean(pass_at_k(sampled.correct, k=half)),
        "eval_majority_at_k": jnp.mean(majority_at_k(sampled.answer, sampled.correct, k=num_samples)),
        "eval_majority_at_half_k": jnp.mean(majority_at_k(sampled.answer, sampled.correct, k=half)),
        "eval_entropy": reduce.token_mean(scores.entropy, where=sampled.where),
    }
    if first_params is not None:
        divergence = kl_estimate(scores.log_prob, scored(first_params).log_prob, where=sampled.where)
        metrics["eval_drift"] = reduce.token_mean(divergence, where=sampled.where)
    return metrics
