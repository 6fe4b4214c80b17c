"""How far an update may go: claims about clipping, damping and weighting the probability ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from experiments.claims import problems
from experiments.claims.findings import Result, no_loss_of_success
from experiments.claims.problems import Problem
from experiments.claims.training import Choices, TabularBatch, TabularMethod, Tuned, make_train, tune_and_train
from experiments.claims.verdicts import Claim, Finding, Size
from rlx import reduce
from rlx.controllers import balanced_clip
from rlx.losses import policy
from rlx.policies import perturb
from rlx.regularizers.divergence import kl_categorical


def mhpo(size: Size) -> Result:
    """Damped ratios against clipped ones: eight steps on each batch, at three times the best learning rate."""
    problem = problems.language(likelihood=2.5, confidence=1.0)
    # At ratio 1 the damping leaves e^(−ζ(0)) of the gradient; undone, so that gradient norms can be compared.
    rescale = math.exp(math.log(2) ** 1.5 + (math.log(2) / 0.8) ** 2)

    def loss(batch: TabularBatch):
        damped = policy.hazard_modulated_surrogate(
            batch.log_prob, batch.behavior_log_prob, batch.advantage, where=batch.where
        )
        return rescale * reduce.sequence_mean(damped, where=batch.where)

    def too_fast(method: TabularMethod) -> Tuned:
        train = make_train(problem, method, num_updates=size.num_updates, inner_steps=8)
        tuned = tune_and_train(train, num_seeds=size.num_seeds, learning_rates=size.learning_rates)
        return tune_and_train(train, num_seeds=size.num_seeds, learning_rates=(3 * tuned.learning_rate,))

    grpo, damped = too_fast(TabularMethod()), too_fast(TabularMethod(loss=loss))
    quantile = lambda tuned: np.quantile(tuned.curves["gradient_norm"], 0.99, axis=1)
    largest = lambda tuned: tuned.curves["log_ratio_max"].max(axis=1)
    findings = [
        Finding(
            "rare gradients are smaller",
            "99 % quantile of the gradient norm",
            quantile(damped),
            quantile(grpo),
            "lower",
            source="paper",
        ),
        Finding(
            "the ratio stays closer to 1",
            "largest |log ratio| (nats)",
            largest(damped),
            largest(grpo),
            "lower",
            source="paper",
        ),
        no_loss_of_success(damped, grpo),
    ]
    return findings, {
        "learning rate of GRPO": f"3 × {grpo.learning_rate / 3:.3g}",
        "of MHPO": f"3 × {damped.learning_rate / 3:.3g}",
    }


def short_answers(length: int = 3, *, likelihood: float = 1.5, num_solutions: int = 4, seed: int = 0) -> Problem:
    """Strings that token 0 ends: right ones after `length` other tokens, wrong ones mostly later or never."""
    problem = problems.language(confidence=1.0, num_solutions=num_solutions, seed=seed)
    table, logits = np.array(problem.next_state), np.array(problem.logits)
    end, vocabulary = logits.shape
    rng = np.random.default_rng(seed)
    shape = (len(problem.start), num_solutions, problem.horizon)
    solutions = np.where(np.arange(shape[-1]) < length, rng.integers(1, vocabulary, size=shape), 0)
    for start, of_prompt in zip(np.asarray(problem.start), solutions, strict=True):
        for solution in of_prompt:
            state = start
            for token in solution[: length + 1]:
                logits[state, token] += likelihood
                state = table[state, token]
    # After the end only token 0 can follow, in a state of its own whose tokens do not count.
    table[:, 0] = end
    silent = np.where(np.arange(vocabulary) == 0, 0.0, -100.0)
    return problem._replace(
        next_state=jnp.asarray(np.vstack([table, np.full((1, vocabulary), end)])),
        solutions=jnp.asarray(solutions),
        logits=jnp.asarray(np.vstack([logits, silent]), jnp.float32),
    )


def bapo(size: Size) -> Result:
    """Searched clip bounds against fixed ones, on rare successes that are eight updates old.

    Wrong strings are longer than right ones: between strings of equal length the advantages of a group balance, and
    the search would end where it starts (3 % of the updates left the first bounds when we tried).
    """
    problem = short_answers()

    def trained(**search: Any) -> Tuned:
        # The dual clip is part of BAPO's surrogate; the baseline has it too, so that they differ by the bounds alone.
        on_batch = lambda function, batch: function(
            batch.log_prob, batch.behavior_log_prob, batch.advantage, where=batch.where, **search
        )

        def loss(batch: TabularBatch):
            return reduce.token_mean(on_batch(policy.balanced_surrogate, batch), where=batch.where)

        def measures(after: TabularBatch, logits: Array):
            _, upper, ratio = on_batch(balanced_clip, after)
            # Without a negative contribution, as where all rewards are equal, there is nothing to balance.
            mixed = jnp.isfinite(ratio)
            share, upper = (jnp.where(mixed, x, jnp.nan) for x in (ratio / (1 + ratio), upper))
            return {"positive": share, "upper": upper}

        method = TabularMethod(
            loss=loss,
            remember=lambda batch: batch._replace(where=batch.state < len(problem.logits) - 1),
        )
        train = make_train(problem, method, num_updates=size.num_updates, inner_steps=2, staleness=8, measures=measures)
        return tune_and_train(train, num_seeds=size.num_seeds, learning_rates=size.learning_rates)

    fixed = trained(low=(0.8, 0.8), high=(1.2, 1.2), low_step=0.0, high_step=0.0)
    balanced = trained()
    share = lambda tuned: np.nanmean(tuned.curves["positive"], axis=1)
    half = problems.token_entropy(problem, problem.logits) / 2
    findings = [
        Finding(
            "positive advantages contribute more",
            "P / (P + N) after the last step on a batch, at the method's bounds, mean over updates",
            share(balanced),
            share(fixed),
            source="paper",
        ),
        Finding(
            "entropy stays higher",
            "entropy (nats), mean over updates",
            balanced.curves["entropy"].mean(1),
            fixed.curves["entropy"].mean(1),
            source="paper",
        ),
        Finding(
            "entropy decays more slowly",
            "share of the updates with more than half of the initial entropy",
            (balanced.curves["entropy"] > half).mean(1),
            (fixed.curves["entropy"] > half).mean(1),
            source="prediction",
        ),
        no_loss_of_success(balanced, fixed, "fixed bounds"),
    ]
    return findings, {
        "learning rate of fixed bounds": fixed.learning_rate,
        "of BAPO": balanced.learning_rate,
        "mean upper bound of BAPO": round(float(np.nanmean(balanced.curves["upper"])), 2),
    }


def alp(size: Size) -> Result:
    """Noise on the logits in training, where the sampler's log-probabilities are inexact and four updates old."""
    problem = problems.language(likelihood=3.0, confidence=1.0)
    mismatch = 0.05
    # A table has one layer, which stands for all those that the paper perturbs: its noise is as large as the mismatch.
    first_scale = jnp.log(mismatch)
    # The scale learns at 5e-4 in the paper, on every step; here once for the four steps on a batch.
    scale_optimizer = optax.adam(4 * 5e-4)

    def inexact(batch: TabularBatch) -> TabularBatch:
        noise = mismatch * jax.random.normal(batch.key, batch.token.shape)
        return batch._replace(behavior_log_prob=batch.behavior_log_prob + noise)

    def sequence_loss(batch: TabularBatch, log_prob: Array):
        per_token = policy.clipped_surrogate(
            log_prob,
            batch.behavior_log_prob,
            batch.advantage,
            where=batch.where,
            level="sequence",
            clip_low=0.5,
            clip_high=3.0,
            dual_clip=3.0,
        )
        return reduce.token_mean(per_token, where=batch.where)

    def perturbed_loss(batch: TabularBatch, log_scale: Array):
        log_policy = jax.nn.log_softmax(perturb(batch.key, batch.logits, log_scale))
        return sequence_loss(batch, jnp.take_along_axis(log_policy, batch.token[..., None], axis=-1)[..., 0])

    def learn_scale(batch: TabularBatch) -> TabularBatch:
        batch = inexact(batch)
        log_scale, state = batch.memory
        own_key = batch._replace(key=jax.random.fold_in(batch.key, 1))
        gradient = jax.grad(lambda scale: perturbed_loss(own_key, scale))(log_scale)
        change, state = scale_optimizer.update(gradient, state, log_scale)
        return batch._replace(memory=(log_scale + change, state))

    def measures(after: TabularBatch, logits: Array):
        divergence = kl_categorical(after.behavior_logits, after.logits)
        return {
            "log_ratio": jnp.abs(after.log_prob - after.behavior_log_prob).ravel(),
            "divergence": jnp.mean(divergence),
        }

    def trained(method: TabularMethod) -> Tuned:
        train = make_train(problem, method, num_updates=size.num_updates, staleness=4, measures=measures)
        return tune_and_train(train, num_seeds=size.num_seeds, learning_rates=size.learning_rates)

    exact = trained(TabularMethod(loss=lambda batch: sequence_loss(batch, batch.log_prob), remember=inexact))
    perturbed = trained(
        TabularMethod(
            loss=lambda batch: perturbed_loss(batch, batch.memory[0]),
            memory=lambda problem: (first_scale, scale_optimizer.init(first_scale)),
            remember=learn_scale,
        )
    )
    quantile = lambda tuned: np.quantile(tuned.curves["log_ratio"].reshape(size.num_seeds, -1), 0.999, axis=1)
    findings = [
        Finding(
            "the ratio has a lighter tail",
            "99.9 % quantile of |log ratio| over training, without the noise (nats)",
            quantile(perturbed),
            quantile(exact),
            "lower",
            source="paper",
        ),
        Finding(
            "the divergence has smaller spikes",
            "largest KL(π_b ‖ π) of a batch (nats)",
            perturbed.curves["divergence"].max(1),
            exact.curves["divergence"].max(1),
            "lower",
            source="paper",
        ),
        no_loss_of_success(perturbed, exact, "training without noise"),
    ]
    return findings, {"learning rate without noise": exact.learning_rate, "of ALP": perturbed.learning_rate}


def r2vpo(size: Size) -> Result:
    """A penalty on the variance of the ratio in place of clipping, on data that are one to eight updates old.

    The bound on the variance, the dual step and the first multiplier are not published. They lead to a multiplier,
    which is chosen here as the clip range is: together with the learning rate, each on a ladder. Success is averaged
    over training, and tuned for so: given time, every surrogate gets there at a low rate.
    """
    problem = problems.language(likelihood=3.0, confidence=1.0)
    stalenesses = (1, 4, 8) if size.num_seeds > 2 else (1,)

    def penalized(batch: TabularBatch, coefficient: Any):
        return policy.ratio_variance(
            batch.log_prob, batch.behavior_log_prob, batch.advantage, coefficient=coefficient, where=batch.where
        )

    def clipped(batch: TabularBatch, bound: Any):
        return policy.clipped_surrogate(
            batch.log_prob,
            batch.behavior_log_prob,
            batch.advantage,
            clip_low=bound,
            clip_high=bound,
            where=batch.where,
        )

    surrogates = {
        "clip": (clipped, Choices((0.1, 0.2, 0.4), CLIP_RANGES)),
        "no clip": (lambda batch, number: penalized(batch, 0.0), None),
        "R²VPO": (penalized, Choices((0.04, 0.16, 0.64), MULTIPLIERS)),
    }

    def trained(name: str, staleness: int) -> Tuned:
        surrogate, choices = surrogates[name]

        def train(key: Array, learning_rate: Any, numbers: Mapping[str, Any] = {"bound": 0.0}) -> dict[str, Array]:
            of_tokens = lambda batch: surrogate(batch, numbers["bound"])

            def measures(after: TabularBatch, logits: Array):
                slope = jnp.abs(jax.grad(lambda x: jnp.sum(of_tokens(after._replace(log_prob=x))))(after.log_prob))
                far = (after.advantage > 0) & (after.log_prob - after.behavior_log_prob > jnp.log(1.2))
                return {"far": jnp.sum(slope * far) / jnp.sum(slope)}

            method = TabularMethod(loss=lambda batch: reduce.token_mean(of_tokens(batch), where=batch.where))
            run = make_train(problem, method, num_updates=size.num_updates, staleness=staleness, measures=measures)
            return run(key, learning_rate)

        return tune_and_train(
            train,
            num_seeds=size.num_seeds,
            learning_rates=size.learning_rates,
            numbers={"bound": choices} if choices else {},
            score=lambda curves: curves["success"].mean(-1),
        )

    runs = {name: [trained(name, staleness) for staleness in stalenesses] for name in surrogates}
    success = {name: [tuned.curves["success"].mean(1) for tuned in runs[name]] for name in runs}
    lost = {name: of[0] - of[-1] for name, of in success.items()}
    share = {name: np.nanmean(runs[name][-1].curves["far"], axis=1) for name in runs}
    fresh, stale = stalenesses[0], stalenesses[-1]
    expected_by = {"clip": "paper", "no clip": "prediction"}
    findings = [
        Finding(
            f"staleness costs less than with {other}",
            f"success averaged over training, at staleness {fresh} less at {stale}; the baseline has {other}",
            lost["R²VPO"],
            lost[other],
            "lower",
            source=source,
        )
        for other, source in expected_by.items()
    ]
    findings += [
        Finding(
            f"stale data teach more than with {other}",
            f"success averaged over training at staleness {stale}; the baseline has {other}",
            success["R²VPO"][-1],
            success[other][-1],
            source=source,
        )
        for other, source in expected_by.items()
    ]
    findings.append(
        Finding(
            "good tokens far from the data keep their gradient",
            f"share of the absolute gradient on tokens with A > 0, r > 1.2 at staleness {stale}; the baseline has clip",
            share["R²VPO"],
            share["clip"],
            source="paper",
        )
    )
    settings: dict[str, Any] = {}
    words = {"clip": "clip range", "R²VPO": "multiplier"}
    for name in runs:
        for staleness, tuned, reached in zip(stalenesses, runs[name], success[name], strict=True):
            chosen = f", {words[name]} {tuned.numbers['bound']:g}" if name in words else ""
            settings[f"{name} at staleness {staleness}"] = (
                f"learning rate {tuned.learning_rate}{chosen}, success {np.mean(reached):.3f} over training"
            )
    return findings, settings


CLIP_RANGES = (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 6.4)
"""From a range that two steps leave to one that ratios hardly ever do."""
MULTIPLIERS = (6e-4, 2.5e-3, 0.01, 0.04, 0.16, 0.64, 2.5, 10.0, 40.0)
"""From a penalty that turns a step around at ratios of some hundred to one that does so at 1 %."""


CLAIMS = {
    "alp": Claim(
        "ALP",
        "(Ye et al., 2026, arXiv 2603.19470)",
        ("rlx.policies.perturb", "rlx.losses.policy.clipped_surrogate"),
        alp,
        right_bench="A table has one layer, and a step of its weights never moves many ratios at once. In a network "
        "of many layers, sampled at a lower precision, the upper quantiles of the ratio would grow over "
        "training without the noise and stay where they are with it",
    ),
    "bapo": Claim(
        "BAPO",
        "(Xi et al., 2025, arXiv 2510.18927)",
        ("rlx.controllers.balanced_clip", "rlx.losses.policy.clipped_surrogate"),
        bapo,
    ),
    "mhpo": Claim(
        "MHPO",
        "(Wang et al., 2026, arXiv 2603.16929)",
        ("rlx.losses.policy.hazard_modulated_surrogate", "rlx.reduce.sequence_mean"),
        mhpo,
    ),
    "r2vpo": Claim(
        "R²VPO",
        "(Luo et al., 2026, arXiv 2601.03320)",
        ("rlx.losses.policy.ratio_variance",),
        r2vpo,
        right_bench="In a table unclipped steps on old data do no harm, so that there is nothing for a penalty to "
        "mend. With a language model and a replay buffer unclipped training would break down as data "
        "age, clipping would slow down, and the penalty would lose least",
    ),
}
