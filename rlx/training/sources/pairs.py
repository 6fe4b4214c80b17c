"""Pairs of responses, one preferred to the other: of a file, or of the policy's own, as a verifier judges them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from rlx.algorithms.dpo import CHOSEN, REJECTED, log_probs, uses
from rlx.algorithms.grpo import score
from rlx.algorithms.responses import Responses
from rlx.losses import preference
from rlx.policies import transformer
from rlx.training.program import BY_RUN, REPLAY, Source, check_counts
from rlx.training.responses import ListedTask, Task, draw, listed, rollout
from rlx.training.sources import epochs
from rlx.training.sources.responses import zeros_like
from rlx.types import Scalar


class Pairs(NamedTuple):
    """A response that is preferred and one that is not, in this order, to each of many prompts.

    A prompt whose two rewards are equal has no pair.

    Attributes:
        prompt: tokens, padded on the left.
        prompt_where: True at real tokens.
        token: tokens of the responses, padded on the right; a multi-turn task's replies are among them.
        present: True at real tokens, replies included.
        where: True at the policy's own.
        reward: of the responses.
        win_rate: how often each is preferred to what else the policy wrote to the prompt.
    """

    prompt: Int[Array, "pair prompt_time"]
    prompt_where: Bool[Array, "pair prompt_time"]
    token: Int[Array, "pair 2 time"]
    present: Bool[Array, "pair 2 time"]
    where: Bool[Array, "pair 2 time"]
    reward: Float[Array, "pair 2"]
    win_rate: Float[Array, "pair 2"]


class PairsState(NamedTuple):
    """State of a source of pairs.

    Attributes:
        pairs: those that were sampled when the run began; None where they were given.
        reference_log_prob: what the policy of the start thinks of each response's tokens, including a third response,
            to another prompt, where the loss uses one; None where the loss uses no reference.
        order: how far the passes over pairs that were given have come; nothing where they were sampled.
    """

    pairs: Pairs | None
    reference_log_prob: Float[Array, "pair response time"] | None
    order: epochs.Epochs | tuple = ()


def pairs(
    task: Task,
    config: transformer.Config,
    loss: Callable[..., Array] = preference.dpo,
    *,
    given: tuple[Pairs, Pairs] | None = None,
    model: Callable[[PyTree], PyTree] = lambda params: params,
    num_prompts: int = 1024,
    num_samples: int = 8,
    temperature: Scalar = 1.0,
    num_held_out: int = 128,
    batch_size: int = 64,
    updates_per_step: int = 16,
) -> Source:
    """Minibatches of pairs.

    Pairs that are given are taken without replacement: all of them once, in an order of its own for each seed and each
    pass, before any comes again; the metric `epoch` tells the passes that are done. Where none are given, the policy of
    the start writes them when a run begins, and they are drawn uniformly and with replacement: several responses to
    each of many prompts, of which the verifier's first right and first wrong one are a pair; prompts without both have
    none. The reference's log-probabilities are computed once, for all pairs.

    Args:
        task: where prompts come from and what judges responses; with given pairs it tells their lengths alone.
        config: structure of the policy.
        loss: what the learner optimizes; its arguments say what a batch must hold.
        given: pairs to learn from and pairs to evaluate on. As an argument of the compiled function they are no part of
            the state.
        model: from what is learned to the policy's parameters, as of `rlx.algorithms.grpo.learner`.
        num_prompts: prompts to sample responses to.
        num_samples: responses to each.
        temperature: of sampling.
        num_held_out: test prompts to sample responses to; of a `ListedTask`, whatever it says, all of them.
        batch_size: pairs of a minibatch.
        updates_per_step: gradient steps of a step of the program.

    Returns:
        A `Source` of `Responses` `[pair, response, ...]` for `rlx.algorithms.dpo.learner`, in whose state it leaves
        those held out. A metric, `pair_share`, tells for which share of the prompts there is a pair.

    Raises:
        ValueError: a count below one, or one response to each prompt.
    """
    check_counts(
        num_prompts=num_prompts, num_held_out=num_held_out, batch_size=batch_size, updates_per_step=updates_per_step
    )
    if num_samples < 2 and given is None:
        raise ValueError(f"num_samples must be at least 2, since a pair has two responses; got {num_samples}")
    needed = uses(loss)
    unrelated = "unrelated" in needed

    def sample(key: PRNGKeyArray, params: PyTree, split: str, count: int) -> Pairs:
        return sampled(
            key,
            config,
            params,
            task,
            split,
            count,
            num_samples=num_samples,
            temperature=temperature,
            at_once=batch_size,
        )

    def all_of(state: PairsState) -> Pairs:
        return given[0] if state.pairs is None else state.pairs

    def init(key: PRNGKeyArray, learner_state: PyTree) -> tuple[PairsState, PyTree]:
        params = model(learner_state.params["policy"])
        train_key, test_key = jax.random.split(key)
        order = ()
        if given is None:
            count = task.num_problems("test") if isinstance(task, ListedTask) else num_held_out
            train, test = (
                sample(train_key, params, "train", num_prompts),
                sample(test_key, params, "test", count),
            )
        else:
            train, test = given
            order = epochs.begin(train_key)
        held_out, reference = as_responses(test), None
        if "reference" in needed:
            known = log_probs(config, params, held_out, batch_size=batch_size)
            held_out = held_out._replace(reference_log_prob=known)
            # Batches are made where they are scored: of given pairs nothing but this is kept.
            scored = lambda row: score(config, params, taken(train, row[None], unrelated=unrelated)).log_prob[0]
            reference = jax.lax.map(scored, jnp.arange(len(train.reward)), batch_size=batch_size)
        state = PairsState(train if given is None else None, reference, order)
        return state, learner_state._replace(held_out=held_out)

    def collect(
        state: PairsState, learner_state: PyTree, key: PRNGKeyArray
    ) -> tuple[PairsState, Int[Array, "update pair"] | None, dict]:
        metrics = {"pair_share": jnp.mean(is_pair(all_of(state)) * 1.0)}
        if given is None:
            return state, None, metrics
        size = len(given[0].reward)
        index, order = epochs.take(state.order, size, updates_per_step * batch_size)
        metrics["epoch"] = order.done(size)
        return state._replace(order=order), index.reshape(updates_per_step, batch_size), metrics

    def drawn(state: PairsState, places: Int[Array, " pair"] | None, key: PRNGKeyArray) -> Responses:
        of = all_of(state)
        # Pairs come first, prompts without one last, which are in no file: their turns fall to others.
        count = jnp.maximum(jnp.sum(is_pair(of)), 1)
        index = jax.random.randint(key, (batch_size,), 0, count) if places is None else places % count
        batch = taken(of, index, unrelated=unrelated)
        if state.reference_log_prob is None:
            return batch
        return batch._replace(reference_log_prob=state.reference_log_prob[index])

    def example(key: PRNGKeyArray) -> Responses:
        def shapes(key: PRNGKeyArray) -> Responses:
            token = jnp.zeros((batch_size, 2, task.response_length), jnp.int32)
            prompt = jnp.zeros((batch_size, task.prompt_length), jnp.int32)
            number = jnp.zeros((batch_size, 2))
            nothing = Pairs(prompt, prompt > 0, token, token > 0, token > 0, number, number)
            batch = taken(nothing, jnp.arange(batch_size), unrelated=unrelated)
            return batch._replace(reference_log_prob=batch.token * 1.0 if "reference" in needed else None)

        return zeros_like(shapes, key)

    layout = PairsState(pairs=REPLAY, reference_log_prob=REPLAY, order=BY_RUN)
    return Source(example, init, collect, drawn, updates_per_step, layout, each=given is not None)


def is_pair(of: Pairs) -> Bool[Array, " pair"]:
    """Whether a prompt has a pair."""
    return of.reward[:, CHOSEN] > of.reward[:, REJECTED]


def sampled(
    key: PRNGKeyArray,
    config: transformer.Config,
    params: PyTree,
    task: Task,
    split: str,
    num_prompts: int,
    *,
    num_samples: int = 8,
    temperature: Scalar = 1.0,
    at_once: int = 64,
) -> Pairs:
    """Pairs of a policy's own responses: of each prompt's the first right one and the first wrong one.

    No prompt of a `ListedTask` is asked twice before all were.

    Args:
        key: random key.
        config: structure of the policy.
        params: its parameters.
        task: where prompts come from and what judges responses.
        split: of the task.
        num_prompts: how many prompts.
        num_samples: responses to each.
        temperature: of sampling.
        at_once: prompts that are answered side by side.

    Returns:
        Of each prompt a pair, those without one last: with empty responses and the reward 0.
    """

    at_once = min(at_once, num_prompts)
    num_parts = math.ceil(num_prompts / at_once)
    places = None
    if isinstance(task, ListedTask):
        order = epochs.begin(jax.random.fold_in(key, num_parts))
        places, _ = epochs.take(order, task.num_problems(split), num_parts * at_once)
        places = places.reshape(num_parts, at_once)

    def part(key_and_places: tuple) -> Pairs:
        key, places = key_and_places
        draw_key, sample_key = jax.random.split(key)
        problems = draw(draw_key, task, split, at_once) if places is None else listed(task, split, places)
        found = rollout(sample_key, config, params, task, problems, group_size=num_samples, temperature=temperature)
        valid = jnp.any(found.correct, axis=-1) & ~jnp.all(found.correct, axis=-1)
        both = jnp.stack([jnp.argmax(found.correct, axis=-1), jnp.argmin(found.correct, axis=-1)], axis=-1)
        of_both = lambda x: jnp.take_along_axis(x, both.reshape(both.shape + (1,) * (x.ndim - 2)), axis=1)
        gap = found.reward[:, :, None] - found.reward[:, None, :]
        # Against the others: a response does not meet itself.
        win_rate = (jnp.sum((1 + jnp.sign(gap)) / 2, axis=-1) - 0.5) / (num_samples - 1)
        real = valid[:, None, None]
        return Pairs(
            prompt=problems.prompt,
            prompt_where=problems.where,
            token=jnp.where(real, of_both(found.token), task.pad_token),
            present=real & of_both(found.present),
            where=real & of_both(found.where),
            reward=jnp.where(valid[:, None], of_both(found.reward), 0.0),
            win_rate=of_both(win_rate),
        )

    parts = jax.lax.map(part, (jax.random.split(key, num_parts), places))
    found = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:num_prompts], parts)
    order = jnp.argsort(~is_pair(found), stable=True)
    return jax.tree.map(lambda x: x[order], found)


def taken(of: Pairs, index: Int[Array, " row"], *, unrelated: bool = False) -> Responses:
    """Some of many pairs as a batch.

    Args:
        of: the pairs, prompts without one last.
        index: which.
        unrelated: static; beside each pair's a third response, the one that is preferred of another pair, half of all
            pairs further on. It has the reward of the rejected one.
    """
    some = jax.tree.map(lambda x: x[index], of)
    if not unrelated:
        return as_responses(some)
    count = jnp.maximum(jnp.sum(is_pair(of)), 1)
    other = (index + jnp.maximum(count // 2, 1)) % count
    beside = lambda x, third: jnp.concatenate([x, third[:, None]], axis=1)
    third = {
        name: beside(getattr(some, name), getattr(of, name)[other, CHOSEN]) for name in ("token", "present", "where")
    }
    return as_responses(some._replace(**third, reward=beside(some.reward, some.reward[:, REJECTED])))


def as_responses(some: Pairs) -> Responses:
    """Pairs as groups of two responses; `extras` has their win rates. No step of theirs is known to be wrong."""
    shape = some.token.shape[:2]
    group = lambda x: jnp.broadcast_to(x[:, None], (*shape, x.shape[-1]))
    of_response = lambda value: jnp.full(shape, value, jnp.int32)
    return Responses(
        prompt=group(some.prompt),
        prompt_where=group(some.prompt_where),
        token=some.token,
        present=some.present,
        where=some.where,
        reward=some.reward,
        correct=(jnp.arange(shape[1]) == CHOSEN) & is_pair(some)[:, None],
        answer=of_response(-1),
        first_error=of_response(some.token.shape[-1]),
        step=jnp.where(some.present, 0, -1),
        extras={"win_rate": some.win_rate},
    )
