"""Which rollouts teach: claims about wrong answers that attract, groups that agree, and right answers that are rare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from experiments.claims import problems
from experiments.claims.findings import Result, final, no_loss_of_success
from experiments.claims.training import TabularBatch, TabularMethod, Tuned, make_train, tune_and_train
from experiments.claims.verdicts import Claim, Finding, Size
from rlx import reduce, returns
from rlx.algorithms.grpo import token_loss
from rlx.losses import policy
from rlx.regularizers.entropy import sampled_negentropy
from rlx.rewards import embedding_novelty, gated_bonus, unique_feature_rate
from rlx.weighting import diversity_softmax


def early_success(curves: Mapping[str, np.ndarray]) -> np.ndarray:
    """What claims about speed tune for: success over all updates, as at the end the rates hardly differ."""
    return curves["success"].mean(axis=1)


def updates_until(reached: np.ndarray) -> np.ndarray:
    """Updates after which a condition `[seed, update]` is first met; one more than there are where it never is."""
    return np.where(reached.any(axis=1), reached.argmax(axis=1), reached.shape[1]) + 1.0


def ace(size: Size) -> Result:
    """A wrong string that attracts, as the policy is the reference with a bias toward it."""
    reference = problems.language(likelihood=4.0, confidence=1.0)
    vocabulary = reference.logits.shape[-1]
    trap = reference._replace(solutions=(reference.solutions[:, :1] + 1) % vocabulary)
    # Six nats on each token give the trap a third of the probability and leave 5 % to the right strings: with fewer
    # successes few groups have any, and a group that fails as a whole has no advantage to amplify.
    states = problems.visited(reference, trap.solutions)
    problem = reference._replace(logits=reference.logits.at[states, trap.solutions].add(6.0))
    trap_probability = lambda logits: jnp.mean(jnp.exp(problems.solution_log_prob(trap, logits).sum(-1)))

    def penalized(batch: TabularBatch):
        log_policy = jax.nn.log_softmax(batch.memory)[batch.state]
        return jnp.broadcast_to(
            returns.confidence_penalty(
                returns.group_relative(batch.reward),
                batch.behavior_log_prob,
                jnp.take_along_axis(log_policy, batch.token[..., None], axis=-1)[..., 0],
                where=batch.where,
            )[..., None],
            batch.token.shape,
        )

    def trained(**slots: Any) -> Tuned:
        # The reference is not the initial policy here, so it comes as the method's memory.
        method = TabularMethod(memory=lambda problem: reference.logits, **slots)
        measures = lambda after, logits: {"trap": trap_probability(logits)}
        train = make_train(problem, method, num_updates=size.num_updates, measures=measures)
        return tune_and_train(train, num_seeds=size.num_seeds, learning_rates=size.learning_rates, score=early_success)

    grpo, asymmetric = trained(), trained(advantage=penalized)
    start = float(trap_probability(problem.logits))

    def others_when_halved(tuned: Tuned) -> np.ndarray:
        """Probability of all other wrong strings once the trap has half of its own, so at equal progress."""
        trap = tuned.curves["trap"]
        when = np.minimum(updates_until(trap < start / 2), trap.shape[1]).astype(int) - 1
        return (1 - trap - tuned.curves["success"])[np.arange(len(when)), when]

    removed = lambda tuned: updates_until(tuned.curves["trap"] < 0.1 * start)
    findings = [
        Finding(
            "an attractive wrong string goes in fewer updates",
            "updates until it has a tenth of its probability",
            removed(asymmetric),
            removed(grpo),
            "lower",
            source="paper",
        ),
        Finding(
            "pass@32 is higher",
            "pass@32, mean over updates",
            asymmetric.curves["pass_at_32"].mean(1),
            grpo.curves["pass_at_32"].mean(1),
            source="paper",
        ),
        Finding(
            "other wrong strings lose less",
            "their probability once the attractive one has lost half of its own",
            others_when_halved(asymmetric),
            others_when_halved(grpo),
            source="prediction",
        ),
    ]
    return findings, {
        "learning rate of GRPO": grpo.learning_rate,
        "of ACE": asymmetric.learning_rate,
        "initial probability of the attractive string": round(start, 3),
    }


def copo(size: Size) -> Result:
    """Six prompts that nearly always fail beside two easy ones, so that most groups have no local advantage."""
    options = dict(num_prompts=8, confidence=1.0)
    hard, easy = (problems.language(likelihood=likelihood, **options) for likelihood in (1.5, 3.5))
    easy_states = jnp.arange(len(hard.logits))[:, None] < hard.start[2]
    problem = hard._replace(logits=jnp.where(easy_states, easy.logits, hard.logits))
    vocabulary = problem.logits.shape[-1]

    def signals(batch: TabularBatch):
        # Right strings have one answer in common, and the answer of a wrong one is its last token: were the whole
        # string the answer, no group would agree, and the method would be GRPO.
        answer = jnp.where(batch.reward > 0, vocabulary, batch.token[..., -1])
        local, between, weight = returns.global_local(batch.reward, answer)
        return local[..., None], between[:, None, None], weight[:, None, None]

    def blended_loss(batch: TabularBatch):
        local, between, weight = signals(batch)
        loss = lambda advantage: policy.clipped_surrogate(
            batch.log_prob, batch.behavior_log_prob, jnp.broadcast_to(advantage, batch.token.shape), where=batch.where
        )
        return reduce.token_mean(weight * loss(local) + (1 - weight) * loss(between), where=batch.where)

    def trained(loss: Any, advantage_of: Any) -> Tuned:
        # A hundredth of a standard deviation and less counts as no advantage: COPO's weight is never exactly 0.
        measures = lambda after, logits: {
            "taught": jnp.mean(jnp.abs(advantage_of(after)) > 0.01),
            "weight": jnp.mean(signals(after)[2]),
        }
        train = make_train(problem, TabularMethod(loss=loss), num_updates=size.num_updates, measures=measures)
        return tune_and_train(train, num_seeds=size.num_seeds, learning_rates=size.learning_rates, score=early_success)

    def blended(batch: TabularBatch):
        local, between, weight = signals(batch)
        return weight * local + (1 - weight) * between

    grpo, consistent = trained(token_loss, lambda batch: batch.advantage), trained(blended_loss, blended)
    half = lambda tuned: updates_until(tuned.curves["success"] >= 0.5)
    findings = [
        Finding(
            "more responses have a gradient",
            "share of responses with an advantage above 0.01, mean over updates",
            consistent.curves["taught"].mean(1),
            grpo.curves["taught"].mean(1),
            source="paper",
        ),
        Finding(
            "half of the samples succeed after fewer updates",
            "updates until success is 50 %",
            half(consistent),
            half(grpo),
            "lower",
            source="prediction",
        ),
        Finding(
            "success is higher",
            "final success",
            final(consistent.curves["success"]),
            final(grpo.curves["success"]),
            source="paper",
        ),
    ]
    return findings, {
        "learning rate of GRPO": grpo.learning_rate,
        "of COPO": consistent.learning_rate,
        "mean weight of the local loss": round(float(consistent.curves["weight"].mean()), 2),
    }


def dsdr(size: Size) -> Result:
    """A bonus for right strings unlike the others of the group, and entropy on them, at the paper's coefficients."""
    # Two of eight rollouts succeed at the start. The method compares right strings, and where they come one at a time
    # the policy has settled on the first of them before a group ever has two.
    problem = problems.language(likelihood=5.0, confidence=1.0)
    coefficient = 0.001
    vocabulary = problem.logits.shape[-1]

    def diversity(batch: TabularBatch):
        present = jax.nn.one_hot(batch.token, vocabulary)
        # Counts of tokens stand for the embedding of the text, and a token at its position for a formula in it.
        novelty = embedding_novelty(present.sum(-2))
        unique = unique_feature_rate(present.reshape(*present.shape[:-2], -1) > 0)
        return (novelty + unique) / 2

    def rewarded(batch: TabularBatch):
        reward = gated_bonus(batch.reward, diversity(batch), batch.reward > 0, coefficient=coefficient)
        return jnp.broadcast_to(returns.group_relative(reward)[..., None], batch.token.shape)

    def clip_higher(batch: TabularBatch):
        surrogate = policy.clipped_surrogate(
            batch.log_prob, batch.behavior_log_prob, batch.advantage, where=batch.where, clip_high=0.28
        )
        return reduce.token_mean(surrogate, where=batch.where)

    def with_entropy(batch: TabularBatch):
        weight = diversity_softmax(diversity(batch), batch.reward > 0)
        negentropy = sampled_negentropy(batch.log_prob, batch.behavior_log_prob, where=batch.where)
        local = jnp.sum(weight * reduce.mean(negentropy, where=batch.where, axis=-1), axis=-1)
        return clip_higher(batch) + coefficient * jnp.mean(local)

    def measures(after: TabularBatch, logits: Array):
        solved = jnp.all(after.reward > 0, axis=-1)
        strength = jnp.mean(jnp.abs(after.advantage), axis=(-2, -1))
        return {"advantage_of_solved": jnp.mean(strength, where=solved)}

    def trained(**slots: Any) -> Tuned:
        train = make_train(problem, TabularMethod(**slots), num_updates=size.num_updates, measures=measures)
        return tune_and_train(train, num_seeds=size.num_seeds, learning_rates=size.learning_rates)

    grpo, diverse = trained(loss=clip_higher), trained(loss=with_entropy, advantage=rewarded)

    def of_solved(tuned: Tuned) -> np.ndarray:
        """Mean over the updates that have a group without failure."""
        strength = tuned.curves["advantage_of_solved"]
        count = np.isfinite(strength).sum(1)
        return np.nansum(strength, axis=1) / np.maximum(count, 1)

    findings = [
        Finding(
            "more distinct right strings are found",
            "distinct solutions in 64 samples at the end, of 4",
            final(diverse.curves["distinct_in_64"]),
            final(grpo.curves["distinct_in_64"]),
            source="paper",
        ),
        Finding(
            "groups without failure still teach",
            "mean absolute advantage in them",
            of_solved(diverse),
            of_solved(grpo),
            source="paper",
        ),
        no_loss_of_success(diverse, grpo),
    ]
    return findings, {
        "learning rate of GRPO": grpo.learning_rate,
        "of DSDR": diverse.learning_rate,
        "final entropy of GRPO": round(float(final(grpo.curves["entropy"]).mean()), 4),
        "final entropy of DSDR": round(float(final(diverse.curves["entropy"]).mean()), 4),
    }


CLAIMS = {
    "ace": Claim("ACE", "(Xu et al., 2026, arXiv 2602.21420)", ("rlx.returns.confidence_penalty",), ace),
    "copo": Claim(
        "COPO",
        "(Han et al., 2025, arXiv 2508.04138)",
        ("rlx.returns.global_local",),
        copo,
        right_bench="Prompts share no parameters here, so that one which always fails learns nothing from the "
        "others. In a network the global term would raise what successful prompts have in common, and "
        "prompts that always fail would begin to succeed sooner than with GRPO",
    ),
    "dsdr": Claim(
        "DSDR",
        "(Wan et al., 2026, arXiv 2602.19895)",
        (
            "rlx.rewards.embedding_novelty",
            "rlx.rewards.unique_feature_rate",
            "rlx.rewards.gated_bonus",
            "rlx.weighting.diversity_softmax",
            "rlx.regularizers.entropy.sampled_negentropy",
        ),
        dsdr,
    ),
}
