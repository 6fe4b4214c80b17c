"""Responses to a task of tokens: problems are drawn, responses sampled and verified, policies judged by them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

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
        end_token: what ends a response; a task with `end_tokens` names several, of which any does.
        num_turns: turns of the policy.
        turn_length: tokens of each.
        reply_length: tokens that the environment appends between two turns.

    With `sees_all`, a task's `reply` is given all tokens of the response so far instead of those of the last turn.
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
        """What the environment answers to a turn: tokens, and where they are real. None real ends the response."""


@runtime_checkable
class ListedTask(Task, Protocol):
    """A task whose problems are a list, such as the rows of a file: evaluations ask each once, training all in turn."""

    def num_problems(self, split: str) -> int:
        """How many problems a split has."""

    def problem(self, index: Int[Array, ""], split: str) -> Any:
        """One of them."""


def rollout(
    key: PRNGKeyArray,
    config: transformer.Config,
    params: PyTree,
    task: Task,
    problems: Any,
    *,
    group_size: int,
    given: tuple[Int[Array, "prompt group time"], Bool[Array, "prompt group time"]] | None = None,
    rows: int | None = None,
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
        rows: static; responses to a task of one turn that are sampled at a time, each of which gives way to the next
            where it ends (`transformer.generate_refilled`); None for all at a time. Responses that are given the
            beginning, or have several turns, are always sampled all at a time.
        sampling: temperature, top_k, top_p and min_p of `transformer.decode`. A learner scores its policy at the
            temperature, which the batch tells it. It knows nothing of the other three, under which tokens come from a
            distribution that is cut off: the ratios of such a batch are biased by what was cut.

    Returns:
        A batch whose reward is that of the verdict, or else 1 where the verifier accepts the response and 0 where not.
    """
    num_prompts = problems.prompt.shape[0]
    repeated = jax.tree.map(lambda x: jnp.repeat(x, group_size, axis=0), problems)
    ends = getattr(task, "end_tokens", (task.end_token,))
    decode = {"max_new_tokens": task.turn_length, "stop_tokens": ends, "pad_token": task.pad_token}

    def verified(*parts: Array) -> Responses:
        batch = judged(task, problems, *(x.reshape(num_prompts, group_size, -1) for x in parts))
        heat = jnp.asarray(sampling.get("temperature", 1.0), jnp.float32)
        return batch._replace(temperature=jnp.broadcast_to(heat, (num_prompts, group_size)))

    if rows is not None and task.num_turns == 1 and given is None:
        options = decode | sampling | {"where": repeated.where, "rows": rows}
        first_key = jax.random.fold_in(key, 0)
        spoken = transformer.generate_refilled(first_key, config, params, repeated.prompt, **options)
        return verified(spoken.tokens, spoken.where, spoken.where)
    capacity = task.prompt_length + task.response_length
    if given is not None:
        # Given and new tokens of a turn take up slots of their own.
        capacity += task.num_turns * task.turn_length
        beginning, kept = (x.reshape(num_prompts * group_size, task.response_length) for x in given)
    state = transformer.prefill(config, params, problems.prompt, where=problems.where, capacity=capacity)
    state = transformer.repeat(state, group_size)
    tokens, present, own = [], [], []
    running = going = jnp.ones(num_prompts * group_size, bool)
    for turn in range(task.num_turns):
        turn_key = jax.random.fold_in(key, turn)
        if given is not None:
            begin = turn * (task.turn_length + task.reply_length)
            first, is_first = (x[:, begin : begin + task.turn_length] for x in (beginning, kept))
            is_first &= going[:, None]
            state = transformer.prefill(config, params, first, where=is_first, state=state)
            has_ended = jnp.any(is_first & jnp.isin(first, jnp.asarray(ends)), -1)
            running = ~has_ended & (jnp.sum(is_first, -1) < task.turn_length)
        spoken, state = transformer.decode(turn_key, config, params, state, where=running & going, **decode, **sampling)
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
            if getattr(task, "sees_all", False):
                said, real = jnp.concatenate(tokens, axis=1), jnp.concatenate(present, axis=1)
            reply, real = jax.vmap(task.reply, in_axes=(0, 0, 0, None))(repeated, said, real, turn)
            if task.reply_length:
                going &= jnp.any(real, axis=-1)
            state = transformer.prefill(config, params, reply, where=real, state=state)
            tokens.append(reply), present.append(real), own.append(jnp.zeros_like(real))
    return verified(*(jnp.concatenate(parts, axis=1) for parts in (tokens, present, own)))


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
    """Problems of a split, at random, with a leading axis `[prompt]`."""
    return jax.vmap(partial(task.sample, split=split))(jax.random.split(key, count))


def listed(task: ListedTask, split: str, index: Int[Array, " prompt"]) -> Any:
    """Problems of a split by their places in its list, with a leading axis `[prompt]`."""
    return jax.vmap(partial(task.problem, split=split))(index)


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
    exact: bool = True,
) -> Callable[[PyTree, PRNGKeyArray], dict[str, Array]]:
    """An evaluator of a learner of language models: how its policy does on test prompts.

    Args:
        task: where prompts come from and what judges responses.
        config: structure of the policy.
        model: from what is learned to the policy's parameters, as of `rlx.algorithms.grpo.learner`.
        num_prompts: test prompts, drawn at random; of a `ListedTask`, which is asked all, those at a time.
        num_samples: responses to each.
        microbatch_size: static; responses that are scored at a time, as of `rlx.algorithms.grpo.learner`.
        exact: static; False draws prompts at random from a `ListedTask` too.

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
            exact=exact,
        )

    return evaluate


class Asked(NamedTuple):
    """Of each test prompt, what a policy answered.

    Attributes:
        greedy_reward: of the greedy response.
        greedy_correct: whether the verifier accepts it.
        greedy_length: its own tokens.
        reward: of the responses that were sampled.
        correct: whether the verifier accepts them.
        answer: numbers for their final answers.
        num_tokens: own tokens of all of them.
        entropy: summed over those, in nats.
        divergence: from the first policy, summed over those; None without one.
    """

    greedy_reward: Float[Array, " prompt"]
    greedy_correct: Bool[Array, " prompt"]
    greedy_length: Int[Array, " prompt"]
    reward: Float[Array, "prompt sample"]
    correct: Bool[Array, "prompt sample"]
    answer: Int[Array, "prompt sample"]
    num_tokens: Int[Array, " prompt"]
    entropy: Float[Array, " prompt"]
    divergence: Float[Array, " prompt"] | None


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
    exact: bool = True,
) -> dict[str, Float[Array, ""]]:
    """How a policy does on test prompts: on all of a `ListedTask`, each once, or on some that are drawn at random.

    Args:
        key: random key.
        config: structure of the policy.
        params: its parameters.
        task: where prompts come from and what judges responses.
        num_prompts: test prompts; of a `ListedTask` those that are asked at a time, which changes no figure but for
            the random numbers of samples.
        num_samples: responses to each.
        microbatch_size: static; responses that are scored at a time.
        first_params: a policy whose divergence from this one is told; None for none.
        exact: static; False draws prompts at random from a `ListedTask` too.

    Returns:
        `eval_return_mean`: mean reward of greedy responses, which is their accuracy where rewards are 0 and 1;
        `eval_return_std` over prompts; `eval_episode_length`: their tokens; `eval_stochastic_return_mean`: mean reward
        at temperature 1, which is pass@1; `eval_pass_at_k` and `eval_majority_at_k` for k the number of samples and, as
        `…_half_k`, for half of it; `eval_entropy`: nats per sampled token; `eval_drift`: KL(policy ‖ first policy),
        nats per sampled token. Where all prompts of a `ListedTask` are asked, also `eval_accuracy`: the share of them
        whose greedy response is right, and `eval_num_prompts`: how many there are.
    """
    draw_key, greedy_key, sample_key = jax.random.split(key, 3)

    def ask(problems: Any, greedy_key: PRNGKeyArray, sample_key: PRNGKeyArray) -> Asked:
        greedy = rollout(greedy_key, config, params, task, problems, group_size=1, temperature=0.0)
        sampled = rollout(sample_key, config, params, task, problems, group_size=num_samples)
        scored = lambda params: score(config, params, sampled, microbatch_size=microbatch_size)
        total = lambda x: jnp.sum(jnp.where(sampled.where, x, 0), axis=(1, 2))
        scores, divergence = scored(params), None
        if first_params is not None:
            divergence = total(kl_estimate(scores.log_prob, scored(first_params).log_prob, where=sampled.where))
        return Asked(
            greedy_reward=greedy.reward[:, 0],
            greedy_correct=greedy.correct[:, 0],
            greedy_length=greedy.length[:, 0],
            reward=sampled.reward,
            correct=sampled.correct,
            answer=sampled.answer,
            num_tokens=total(1),
            entropy=total(scores.entropy),
            divergence=divergence,
        )

    if not (exact and isinstance(task, ListedTask)):
        return _figures(ask(draw(draw_key, task, "test", num_prompts), greedy_key, sample_key))
    count = task.num_problems("test")
    # Batches of one size, of which the last goes beyond the end as little as can be.
    num_batches = math.ceil(count / num_prompts)
    size = math.ceil(count / num_batches)

    def ask_batch(number: Int[Array, ""]) -> Asked:
        index = jnp.minimum(number * size + jnp.arange(size), count - 1)
        return ask(listed(task, "test", index), *(jax.random.fold_in(key, number) for key in (greedy_key, sample_key)))

    batches = jax.lax.map(ask_batch, jnp.arange(num_batches))
    asked = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], batches)
    exact = {"eval_accuracy": jnp.mean(asked.greedy_correct * 1.0), "eval_num_prompts": jnp.asarray(count, jnp.float32)}
    return _figures(asked) | exact


def _figures(asked: Asked) -> dict[str, Float[Array, ""]]:
    """What `evaluate_policy` tells of all prompts."""
    num_samples = asked.correct.shape[1]
    half = max(1, num_samples // 2)
    per_token = lambda total: jnp.sum(total) / jnp.maximum(jnp.sum(asked.num_tokens), 1)
    metrics = {
        "eval_return_mean": jnp.mean(asked.greedy_reward),
        "eval_return_std": jnp.std(asked.greedy_reward),
        "eval_episode_length": jnp.mean(asked.greedy_length * 1.0),
        "eval_stochastic_return_mean": jnp.mean(asked.reward),
        "eval_pass_at_k": jnp.mean(pass_at_k(asked.correct, k=num_samples)),
        "eval_pass_at_half_k": jnp.mean(pass_at_k(asked.correct, k=half)),
        "eval_majority_at_k": jnp.mean(majority_at_k(asked.answer, asked.correct, k=num_samples)),
        "eval_majority_at_half_k": jnp.mean(majority_at_k(asked.answer, asked.correct, k=half)),
        "eval_entropy": per_token(asked.entropy),
    }
    return metrics if asked.divergence is None else metrics | {"eval_drift": per_token(asked.divergence)}
