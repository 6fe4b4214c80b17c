"""Language models that are helped: claims about demonstrations and about refinements of their own responses."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from experiments.claims.sequence_rollouts import joined, repaired
from experiments.claims.sequence_training import (
    QUICK,
    SIZE,
    WEAK,
    Laboratory,
    Numbers,
    Run,
    Side,
    curves_of,
    few_prompts,
    laboratory_of,
    more_accurate,
    no_less_accurate,
    settings_of,
)
from experiments.claims.verdicts import Claim, Finding, Size
from rlx import reduce, returns
from rlx.algorithms.grpo import Method, group_advantage
from rlx.algorithms.responses import Responses
from rlx.envs import language
from rlx.envs.language.protocol import TokenTask
from rlx.losses import policy
from rlx.policies import transformer
from rlx.training import responses
from rlx.weighting import performance_gate

ENTROPY = 0.001
"""Coefficient of the entropy bonus in the official scripts of HPT and of Critique-GRPO."""


def is_last(batch: Responses) -> Bool[Array, "prompt group"]:
    """True at the last member of each group, which is not the policy's own."""
    return jnp.broadcast_to(jnp.arange(batch.reward.shape[1]) == batch.reward.shape[1] - 1, batch.reward.shape)


def with_demonstration(
    key: PRNGKeyArray,
    config: transformer.Config,
    params: PyTree,
    task: TokenTask,
    problems: Any,
    *,
    group_size: int,
    **sampling: Any,
) -> Responses:
    """A group of the policy's own responses, and after them the task's solution."""
    own = responses.rollout(key, config, params, task, problems, group_size=group_size, **sampling)
    return joined(own, responses.solutions(task, problems))


def hpt_side(numbers: Numbers) -> Side:
    """A loss of each prompt between the likelihood of its demonstration and a policy gradient of its responses.

    The share of the demonstration is 1 in the first `until` updates. After them it is `share` where `gated` is 0,
    and where it is 1, by whether all responses fail, 1 or 0.
    """

    def advantage(batch: Responses) -> Float[Array, "prompt group time"]:
        centered = returns.group_relative(batch.reward, where=~is_last(batch), scale="none")
        return jnp.broadcast_to(centered[..., None], batch.token.shape)

    def remember(batch: Responses) -> Responses:
        fails = performance_gate(batch.correct * 1.0, where=~is_last(batch))
        share = jnp.where(numbers["gated"] > 0, fails * 1.0, numbers["share"])
        share = jnp.where(batch.update < numbers["until"], 1.0, share)
        return batch._replace(extras=share, memory={"supervised": jnp.mean(share)})

    def loss(batch: Responses) -> Float[Array, ""]:
        shown = is_last(batch)[..., None]
        own, demonstrated = batch.where & ~shown, batch.where & shown
        # Two rows of the paper's table: the denominator is the policy itself, and the policy that sampled.
        current = jax.lax.stop_gradient(batch.log_prob)
        likelihood = policy.unified_gradient(batch.log_prob, current, jnp.ones_like(current), where=demonstrated)
        gradient = policy.unified_gradient(batch.log_prob, batch.behavior_log_prob, batch.advantage, where=own)
        supervised = reduce.mean(likelihood, where=demonstrated, axis=(1, 2))
        room = (batch.token.shape[1] - 1) * batch.token.shape[2]
        reinforced = jnp.sum(gradient, axis=(1, 2)) / room
        mixed = batch.extras * supervised + (1 - batch.extras) * reinforced
        return jnp.mean(mixed) - ENTROPY * reduce.token_mean(batch.entropy, where=own)

    nothing = {"supervised": jnp.zeros(())}
    method = Method(advantage=advantage, remember=remember, loss=loss, memory=lambda num_prompts, group_size: nothing)
    return Side(method, with_demonstration, report=lambda memory: memory)


def hpt(size: Size) -> tuple:
    """Addition with 128 training prompts and a demonstration of each: by which signal is each prompt learned from?

    With few prompts demonstrations can be learned by heart. Policies come from a warm-up on other prompts.
    """
    task = language.make("addition", digits=2)
    laboratory = Laboratory(WEAK, size, task=few_prompts(task, 128), demonstrated=task)
    side = laboratory.trainer(hpt_side)
    tuned = lambda **numbers: side.tuned({"gated": 0.0, "share": 0.0, "until": 0.0} | numbers)
    runs = {
        "HPT": tuned(gated=1.0),
        "half of each": tuned(share=0.5),
        "first one, then the other": tuned(until=size.num_updates / 2),
        "responses alone": tuned(),
    }
    gated, mixture, sequence, alone = runs.values()
    supervised = gated.metrics["supervised"]
    findings = [
        no_less_accurate(gated, mixture, "a fixed mixture"),
        more_accurate(
            gated, mixture, "the gate beats a fixed mixture", "half of each loss at every prompt", source="paper"
        ),
        more_accurate(
            gated, sequence, "the gate beats one after the other", "half of the updates each, SFT first", source="paper"
        ),
        more_accurate(gated, alone, "demonstrations help", "the policy gradient alone", source="paper"),
        Finding(
            "fewer and fewer prompts need a demonstration",
            "share of supervised prompts in the last eighth of the updates; against the first",
            supervised[:, -1],
            supervised[:, 0],
            "lower",
            source="paper",
        ),
    ]
    return findings, settings_of(runs), curves_of(runs, {"accuracy": "accuracy", "pass_at_k": "pass@8"})


def critique_side(numbers: Numbers) -> Side:
    """The last of a group replaced by a refinement, where `refine` is 1; `shaped` 0 gives it a ratio of 1.

    Each response is refined, and the first refinement that is right is taken, or the first where none is.
    """

    def sample(
        key: PRNGKeyArray,
        config: transformer.Config,
        params: PyTree,
        task: TokenTask,
        problems: Any,
        **options: Any,
    ) -> Responses:
        own = responses.rollout(key, config, params, task, problems, **options)
        refined = repaired(task, problems, own)
        chosen = jnp.argmax(refined.correct, axis=1)
        best = jax.tree.map(lambda x: jax.vmap(lambda row, place: row[place])(x, chosen)[:, None], refined)
        is_replaced = is_last(own) & (numbers["refine"] > 0)
        place = lambda mask, x: mask.reshape(*mask.shape, *[1] * (x.ndim - 2))
        batch = jax.tree.map(lambda new, old: jnp.where(place(is_replaced, old), new, old), best, own)
        return batch._replace(extras=is_replaced)

    def loss(batch: Responses) -> Float[Array, ""]:
        off_policy = jnp.broadcast_to(batch.extras[..., None], batch.token.shape)
        shaped = policy.mixed_policy(
            batch.log_prob, batch.behavior_log_prob, batch.advantage, off_policy, where=batch.where
        )
        current = jax.lax.stop_gradient(batch.log_prob)
        plain = policy.unified_gradient(batch.log_prob, current, batch.advantage, where=batch.where)
        per_token = jnp.where(off_policy & (numbers["shaped"] == 0), plain, shaped)
        loss = reduce.constant_length(per_token, length=float(batch.token.shape[-1]), where=batch.where)
        return loss - ENTROPY * reduce.token_mean(batch.entropy, where=batch.where)

    return Side(Method(advantage=lambda batch: group_advantage(batch, scale="none"), loss=loss), sample)


def newly_solved(run: Run) -> Float[np.ndarray, " seed"]:
    """Accuracy at the end on test prompts that the policy before never got right."""
    solved = run.evaluations["solved"]
    unsolved = solved[:, 0] == 0
    end = solved[:, -2:].mean(axis=1)
    return np.sum(end * unsolved, axis=1) / np.maximum(unsolved.sum(axis=1), 1)


def critique_grpo(size: Size) -> tuple:
    """Addition with a refiner that puts one wrong symbol of a response right; one refinement in each group."""
    laboratory = laboratory_of(WEAK, size)
    side = laboratory.trainer(critique_side)
    runs = {
        "Critique-GRPO": side.tuned({"refine": 1.0, "shaped": 1.0}),
        "unshaped": side.tuned({"refine": 1.0, "shaped": 0.0}),
        "no refinements": side.tuned({"refine": 0.0, "shaped": 1.0}),
    }
    shaped, plain, without = runs.values()
    on_hard = "accuracy at the end on test prompts of which no sample was right before; against "
    findings = [
        more_accurate(shaped, without, "refinements help", "the same loss without them", source="paper"),
        Finding(
            "they help where nothing was right before",
            on_hard + "no refinements",
            newly_solved(shaped),
            newly_solved(without),
            source="paper",
        ),
        more_accurate(shaped, plain, "shaping helps", "refinements with a ratio of 1", source="paper"),
        Finding(
            "shaping helps where nothing was right before",
            on_hard + "refinements with a ratio of 1",
            newly_solved(shaped),
            newly_solved(plain),
            source="prediction",
        ),
    ]
    settings = settings_of(runs) | {
        "share of such prompts": f"{np.mean(shaped.evaluations['solved'][:, 0] == 0):.2f}",
    }
    return findings, settings, curves_of(runs, {"accuracy": "accuracy", "pass_at_k": "pass@8"})


CLAIMS = {
    "hpt": Claim(
        "HPT",
        "(Lv et al., 2025, arXiv 2509.04419)",
        ("rlx.losses.policy.unified_gradient", "rlx.weighting.performance_gate"),
        hpt,
        SIZE,
        QUICK,
        "tokens",
        data="addition@digits=2, 128 training prompts with a solution each",
    ),
    "critique_grpo": Claim(
        "Critique-GRPO",
        "(Zhang et al., 2025, arXiv 2506.03106)",
        ("rlx.losses.policy.mixed_policy", "rlx.losses.policy.unified_gradient"),
        critique_grpo,
        SIZE,
        QUICK,
        "tokens",
        data="addition@digits=2, prompts drawn anew",
    ),
}
