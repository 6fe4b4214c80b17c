"""What an outcome says of the tokens before it: claims about right and wrong responses, and about steps."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Bool, Float, PRNGKeyArray, PyTree

from experiments.claims.sequence_training import (
    CONFIG,
    QUICK,
    SIZE,
    Numbers,
    Side,
    clipped_adam,
    curves_of,
    laboratory_of,
    more_accurate,
    no_less_accurate,
    settings_of,
)
from experiments.claims.verdicts import Claim, Finding, Size
from rlx import reduce, returns
from rlx.algorithms.grpo import Method, group_advantage
from rlx.algorithms.responses import Responses
from rlx.envs.language.protocol import TokenTask
from rlx.losses import policy
from rlx.losses.value import bernoulli_value
from rlx.policies import transformer
from rlx.regularizers.divergence import kl_estimate
from rlx.training import responses
from rlx.weighting import cumulative_credit, mixed_outcome


def after_token(value: Float[Array, "... time"]) -> Float[Array, "... time"]:
    """A critic's value after each token, from those before: the next one's, and that of the last slot its own.

    So a response that fills all the room has no value after its last token, which is the end.
    """
    return jnp.concatenate([value[..., 1:], value[..., -1:]], axis=-1)


def with_critic(rate: Float[Array, ""]) -> optax.GradientTransformation:
    """The policy at the given rate, and beside it a critic at the warm-up's, whichever rate the policy is tried at."""
    parts = {"policy": clipped_adam(rate), "critic": clipped_adam(CONFIG.warmup_learning_rate)}
    return optax.multi_transform(parts, {name: name for name in parts})


def one_of_each(batch: Responses) -> Bool[Array, "prompt group"]:
    """A right and a wrong response of each group that has both, drawn evenly."""
    draw = jax.random.uniform(batch.key, batch.correct.shape)
    group = batch.correct.shape[-1]
    chosen = lambda among: jax.nn.one_hot(jnp.argmax(jnp.where(among, draw, -1.0), axis=-1), group, dtype=bool)
    mixed = jnp.any(batch.correct, axis=-1, keepdims=True) & jnp.any(~batch.correct, axis=-1, keepdims=True)
    return mixed & (chosen(batch.correct) | chosen(~batch.correct))


def oreal_side(numbers: Numbers) -> Side:
    """OREAL with a reward model of tokens; without it where `credit` is 0, cloning alone where `negative` is 0.

    The reward model is a Transformer of its own, which starts as the policy does. As its head begins at zero, so do all
    weights, and the policy waits for it without being told to.
    """
    credit_of = lambda batch, value: cumulative_credit(after_token(value), where=batch.where)

    def remember(batch: Responses) -> Responses:
        batch = batch._replace(where=batch.where & one_of_each(batch)[..., None])
        # What it says of wrong responses, before and from the first step that is wrong.
        _, weight = credit_of(batch, batch.value)
        late = jnp.arange(batch.token.shape[-1]) >= batch.first_error[..., None]
        of_wrong = batch.where & ~batch.correct[..., None]
        mean = lambda where: reduce.token_mean(weight, where=of_wrong & where)
        return batch._replace(memory={"weight_before": mean(~late), "weight_from": mean(late)})

    def loss(batch: Responses) -> Float[Array, ""]:
        right = jnp.broadcast_to(batch.correct[..., None], batch.token.shape)
        positive, negative = credit_of(batch, batch.behavior_value)
        used = lambda weight: jnp.where(numbers["credit"] > 0, weight, 1.0)
        per_token = policy.outcome_contrast(
            batch.log_prob,
            batch.advantage,
            right,
            positive_weight=used(positive),
            negative_weight=used(negative),
            negative_coefficient=numbers["negative"],
            where=batch.where,
        )
        mean = lambda x, where: reduce.token_mean(x, where=batch.where & where)
        divergence = kl_estimate(batch.log_prob, batch.reference_log_prob, kind="k3", where=batch.where)
        verdict = reduce.mean(after_token(batch.value), where=batch.where, axis=-1)
        kept = jnp.any(batch.where, axis=-1)
        model = bernoulli_value(verdict, batch.correct * 1.0, where=kept)
        contrast = mean(per_token, right) + mean(per_token, ~right)
        return contrast + 0.01 * mean(divergence, True) + reduce.mean(model, where=kept)

    nothing = {"weight_before": jnp.zeros(()), "weight_from": jnp.zeros(())}
    method = Method(
        uses=frozenset({"reference", "value"}),
        advantage=lambda batch: group_advantage(batch, center="leave_one_out", scale="none"),
        remember=remember,
        loss=loss,
        memory=lambda num_prompts, group_size: nothing,
    )
    return Side(method, optimizer=with_critic, report=lambda memory: memory)


def oreal(size: Size) -> tuple:
    """Addition: a right response of each group is cloned and a wrong one pushed away, with and without token credit.

    One right and one wrong response of every mixed group are learned from, as in the official code; GRPO learns from
    all of them.
    """
    laboratory = laboratory_of(CONFIG, size)
    side = laboratory.trainer(oreal_side)
    runs = {
        "cloning right ones": side.tuned({"negative": 0.0, "credit": 0.0}),
        "and wrong ones": side.tuned({"negative": 0.5, "credit": 0.0}),
        "OREAL": side.tuned({"negative": 0.5, "credit": 1.0}),
        "GRPO": laboratory.grpo,
    }
    cloning, contrast, whole, grpo = runs.values()
    late = -(-whole.metrics["weight_from"].shape[1] // 2)
    of_late = lambda name: whole.metrics[name][:, -late:].mean(axis=1)
    findings = [
        more_accurate(contrast, cloning, "wrong responses help", "cloning right ones alone", source="paper"),
        more_accurate(whole, cloning, "so they do with credit of tokens", "cloning right ones alone", source="paper"),
        more_accurate(whole, contrast, "credit of tokens helps", "the same without it", source="paper"),
        no_less_accurate(whole, grpo, "GRPO"),
        Finding(
            "credit finds the error",
            "weight of tokens in wrong responses, second half of training; from the first wrong step on against before",
            of_late("weight_from"),
            of_late("weight_before"),
            source="prediction",
        ),
    ]
    return findings, settings_of(runs), curves_of(runs, {"accuracy": "accuracy"})


BETA = 0.1
"""The highest of the paper's values: here are a hundred updates, not thousands."""


def beginnings(batch: Responses) -> Bool[Array, "prompt group time"]:
    """First tokens of the steps."""
    before = jnp.concatenate([jnp.full_like(batch.step[..., :1], -1), batch.step[..., :-1]], axis=-1)
    return batch.where & (batch.step != before)


def branched(
    key: PRNGKeyArray,
    config: transformer.Config,
    params: PyTree,
    task: TokenTask,
    problems: Any,
    *,
    group_size: int,
    **sampling: Any,
) -> Responses:
    """One response to each prompt, and a group of others that go on from before one of its steps, drawn evenly.

    The group's next steps are the candidates from one state; `extras` has True at the tokens that were given.
    """
    first_key, step_key, rest_key = jax.random.split(key, 3)
    first = responses.rollout(first_key, config, params, task, problems, group_size=1, **sampling)
    draw = jnp.where(beginnings(first), jax.random.uniform(step_key, first.token.shape), -1.0)
    keep = first.where & (jnp.arange(task.response_length) < jnp.argmax(draw, axis=-1)[..., None])
    token, keep = (jnp.repeat(x, group_size, axis=1) for x in (first.token, keep))
    batch = responses.rollout(
        rest_key, config, params, task, problems, group_size=group_size, given=(token, keep), **sampling
    )
    return batch._replace(extras=keep)


def step_side(numbers: Numbers) -> Side:
    """Steps regressed on their advantages over the other candidates; `verifier` 1 takes values from the verifier.

    The critic learns from the outcomes of all responses, the group's being completions of the state that it branches
    from. The value of a response that has ended is its outcome.
    """

    def candidate(batch: Responses) -> Bool[Array, "prompt group time"]:
        new = batch.where & ~batch.extras
        number = jnp.max(jnp.where(new & ~jnp.pad(new[..., :-1], [(0, 0), (0, 0), (1, 0)]), batch.step, -1), axis=-1)
        return new & (batch.step == number[..., None])

    def advantage(batch: Responses) -> Float[Array, "prompt group time"]:
        own, place = candidate(batch), jnp.arange(batch.token.shape[-1])
        last = jnp.max(jnp.where(own, place, -1), axis=-1, keepdims=True)
        at_last = lambda x: jnp.take_along_axis(x, jnp.maximum(last, 0), axis=-1)[..., 0]
        has_ended = last[..., 0] == jnp.max(jnp.where(batch.where, place, -1), axis=-1)
        critic = jax.nn.sigmoid(at_last(after_token(batch.value)))
        verified = (batch.first_error > last[..., 0]) * 1.0
        ahead = jnp.where(numbers["verifier"] > 0, verified, critic)
        value = jnp.where(has_ended, batch.correct * 1.0, ahead)
        return jnp.broadcast_to(returns.group_relative(value, scale="none")[..., None], batch.token.shape)

    def loss(batch: Responses) -> Float[Array, ""]:
        own = candidate(batch)
        of_step = lambda log_prob: jnp.sum(log_prob, axis=-1, where=own)
        regression = policy.advantage_regression(
            of_step(batch.log_prob), of_step(batch.behavior_log_prob), batch.advantage[..., 0], temperature=BETA
        )
        # A state at which all candidates are the same says nothing of them.
        said = jnp.where(own, batch.token, -1)
        differ = jnp.any(said != said[:, :1], axis=(1, 2))[:, None]
        begins = beginnings(batch)
        outcome = jnp.broadcast_to(batch.correct[..., None] * 1.0, batch.value.shape)
        critic = reduce.mean(bernoulli_value(batch.value, outcome, where=begins), where=begins)
        return reduce.mean(regression, where=jnp.broadcast_to(differ, regression.shape)) + critic

    method = Method(uses=frozenset({"value"}), advantage=advantage, loss=loss)
    return Side(method, branched, with_critic)


def trajectory_side(numbers: Numbers) -> Side:
    """The same regression of whole responses on their outcomes."""

    def loss(batch: Responses) -> Float[Array, ""]:
        of_response = lambda log_prob: jnp.sum(log_prob, axis=-1, where=batch.where)
        regression = policy.advantage_regression(
            of_response(batch.log_prob),
            of_response(batch.behavior_log_prob),
            batch.advantage[..., 0],
            temperature=BETA,
        )
        mixed = mixed_outcome(batch.reward)[:, None]
        return reduce.mean(regression, where=jnp.broadcast_to(mixed, regression.shape))

    return Side(Method(advantage=lambda batch: group_advantage(batch, scale="none"), loss=loss))


def step_dapo(size: Size) -> tuple:
    """Addition by columns: candidates for one step from one state, against whole responses from the prompt.

    Both see groups of eight and take as many gradient steps; the branch costs one response to each prompt more, and
    its group's are shorter by what they are given.
    """
    laboratory = laboratory_of(CONFIG, size)
    steps = laboratory.trainer(step_side)
    runs = {
        "steps": steps.tuned({"verifier": 0.0}),
        "steps, verified": steps.tuned({"verifier": 1.0}),
        "responses": laboratory.trainer(trajectory_side).tuned(),
        "GRPO": laboratory.grpo,
    }
    critic, verified, whole, grpo = runs.values()
    findings = [
        more_accurate(
            critic, whole, "steps by a learned critic beat whole responses", "regression on outcomes", source="paper"
        ),
        more_accurate(
            verified, whole, "steps by the verifier beat whole responses", "regression on outcomes", source="prediction"
        ),
        Finding(
            "with a learned critic accuracy rises",
            "accuracy at the end; against the policy before",
            critic.last("accuracy"),
            critic.first("accuracy"),
            source="paper",
        ),
        no_less_accurate(critic, grpo, "GRPO"),
    ]
    return findings, settings_of(runs), curves_of(runs, {"accuracy": "accuracy"})


CLAIMS = {
    "oreal": Claim(
        "OREAL",
        "(Lyu et al., 2025, arXiv 2502.06781)",
        ("rlx.losses.policy.outcome_contrast", "rlx.weighting.cumulative_credit"),
        oreal,
        SIZE,
        QUICK,
        "tokens",
        right_bench="The reward model takes 160 gradient steps while the policy already learns from it. Trained "
        "first, until its verdicts of held-out responses are right, it would put the weight of a wrong "
        "response on the first wrong step and what follows, and clones weighted by it would learn in "
        "fewer updates",
        data="addition@digits=2, prompts drawn anew",
    ),
    "step_dapo": Claim(
        "step-level DAPO",
        "(Liu et al., 2024, arXiv 2412.18279)",
        ("rlx.losses.policy.advantage_regression", "rlx.losses.value.bernoulli_value"),
        step_dapo,
        SIZE,
        QUICK,
        "tokens",
        right_bench="The critic learns from a hundred batches while the policy already follows it. Trained first, on "
        "the success of sixteen completions of each step as in the paper, it would tell steps apart "
        "nearly as the verifier does, and steps by critic and by verifier would end alike",
        data="addition@digits=2, prompts drawn anew",
    ),
}
