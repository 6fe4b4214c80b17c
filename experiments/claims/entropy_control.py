"""How a policy is made to keep entropy: claims about bonuses, anchors and bands, and about rare tokens."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from experiments.claims import problems
from experiments.claims.findings import MARGIN, Result, final, no_loss_of_success
from experiments.claims.problems import Problem
from experiments.claims.training import TabularBatch, TabularMethod, Tuned, make_train, tune_and_train
from experiments.claims.verdicts import Claim, Finding, Size
from rlx import reduce, returns, weighting
from rlx.algorithms.grpo import token_loss
from rlx.controllers import first_value, running_mean, two_phase_decay
from rlx.losses import policy
from rlx.policies import filtered_log_prob
from rlx.regularizers.entropy import anchored_entropy, categorical_entropy, entropy_band_penalty, nucleus_entropy


def tuned_run(problem: Problem, method: TabularMethod, size: Size, **options: Any) -> Tuned:
    """A method with the learning rate that suits it, by its success at the end unless there is a `score`."""
    tuning = {"learning_rates": size.learning_rates}
    tuning |= {name: options.pop(name) for name in ("score", "statistic", "learning_rates") if name in options}
    train = make_train(problem, method, num_updates=size.num_updates, **options)
    return tune_and_train(train, num_seeds=size.num_seeds, **tuning)


def not_lower(measure: str, method: Tuned, baseline: Tuned, name: str) -> Finding:
    """That a measure of success, averaged over training, is at most `MARGIN` below the baseline's."""
    label = measure.replace("_at_", "@")
    return Finding(
        f"{label} does not fall by {MARGIN} or more",
        f"{label}, mean over updates; the baseline is that of {name} less {MARGIN}",
        method.curves[measure].mean(1),
        baseline.curves[measure].mean(1) - MARGIN,
        source="prediction",
    )


def with_bonus(batch: TabularBatch, loss: Any = token_loss, coefficient: float = 0.02) -> Array:
    """A surrogate with the usual entropy bonus."""
    return loss(batch) - coefficient * reduce.token_mean(batch.entropy, where=batch.where)


def forks(vocabulary: int, length: int, *, right: int, likely: int, num_prompts: int = 4) -> Problem:
    """Strings of which every token is a choice among some right ones, at the start nine times in ten a likely one.

    Success leaves log `right` nats for each token. In `problems.language`, whose four right strings of six tokens
    leave 0.23, the entropies that are to be held here would cost all success.

    Args:
        vocabulary: tokens, most of them noise.
        length: tokens of a string.
        right: tokens that are right at a position, for each prompt others.
        likely: tokens that are likely at a position, the right ones among them.
        num_prompts: prompts, with tables of their own.
    """
    rng = np.random.default_rng(0)
    states = np.arange(length * num_prompts)
    order = rng.permuted(np.tile(np.arange(vocabulary), (len(states), 1)), axis=1)
    logits = 0.5 * rng.normal(size=(len(states), vocabulary))
    odds = 9 * (vocabulary - likely) / likely
    np.put_along_axis(logits, order[:, :likely], logits[:, :likely] + math.log(odds), axis=1)
    choices = np.array(list(itertools.product(range(right), repeat=length)))
    tokens = order[:, :right].reshape(num_prompts, length, right)
    solutions = np.stack([of_prompt[np.arange(length), choices] for of_prompt in tokens])
    return Problem(
        start=jnp.asarray(states[::length]),
        next_state=jnp.asarray(np.tile(np.minimum(states + 1, states[-1])[:, None], (1, vocabulary))),
        solutions=jnp.asarray(solutions),
        reward=jnp.ones(solutions.shape[:2]),
        logits=jnp.asarray(logits, jnp.float32),
    )


def siren(size: Size) -> Result:
    """An anchor for the entropy of the likely tokens where it is high, against a bonus for all of it.

    Of 100 tokens 6 are likely and 3 are right, so that a bonus has a tail to run away in.
    """
    vocabulary = 100
    problem = forks(vocabulary, 4, right=3, likely=6)
    anchor = first_value()

    def peaks(batch: TabularBatch) -> tuple[Array, Array]:
        entropy = nucleus_entropy(batch.logits)
        return entropy, weighting.quantile_mask(entropy, where=batch.where)

    def peak_entropy(batch: TabularBatch) -> Array:
        entropy, peak = peaks(batch)
        return reduce.sequence_mean(entropy, where=peak, empty="count")

    def surrogate(batch: TabularBatch) -> Array:
        # SIREN's clip range; all three methods have it, and its advantage, so that they differ by the penalty alone.
        per_token = policy.clipped_surrogate(
            batch.log_prob, batch.behavior_log_prob, batch.advantage, where=batch.where, clip_low=0.28, clip_high=0.28
        )
        return reduce.token_mean(per_token, where=batch.where)

    def anchored(batch: TabularBatch) -> Array:
        entropy, peak = peaks(batch)
        return surrogate(batch) + anchored_entropy(entropy, batch.memory.value, where=peak)

    def trained(loss: Any) -> Tuned:
        advantage = lambda batch: jnp.broadcast_to(
            returns.group_relative(batch.reward, scale="none")[..., None], batch.token.shape
        )
        method = TabularMethod(
            advantage=advantage,
            loss=loss,
            memory=lambda problem: anchor.init(0.0),
            remember=lambda batch: batch._replace(memory=anchor.update(batch.memory, peak_entropy(batch))[1]),
        )
        measures = lambda after, logits: {"drift": jnp.abs(peak_entropy(after) - after.memory.value)}
        return tuned_run(problem, method, size, measures=measures)

    grpo, bonus, held = trained(surrogate), trained(partial(with_bonus, loss=surrogate)), trained(anchored)
    start = float(problems.token_entropy(problem, problem.logits))
    findings = [
        Finding(
            "GRPO's entropy goes to almost 0",
            "final entropy (nats), against 0.1",
            final(grpo.curves["entropy"]),
            0.1,
            "lower",
            source="paper",
        ),
        Finding(
            "a plain bonus raises entropy",
            f"final entropy (nats), against the initial one; log V = {math.log(vocabulary):.2f}",
            final(bonus.curves["entropy"]),
            start,
            source="paper",
        ),
        Finding(
            "a plain bonus lowers success",
            "final success with the bonus; the baseline is GRPO",
            final(bonus.curves["success"]),
            final(grpo.curves["success"]),
            "lower",
            source="paper",
        ),
        Finding(
            "SIREN holds the entropy of its peaks",
            "|Ĥ − H₀| (nats), mean over updates; the baseline is GRPO",
            held.curves["drift"].mean(1),
            grpo.curves["drift"].mean(1),
            "lower",
            source="paper",
        ),
        not_lower("pass_at_8", held, grpo, "GRPO"),
        no_loss_of_success(held, grpo),
    ]
    return findings, {
        "learning rate of GRPO": grpo.learning_rate,
        "of the bonus": bonus.learning_rate,
        "of SIREN": held.learning_rate,
        "final entropy of SIREN": round(float(final(held.curves["entropy"]).mean()), 3),
    }


def rare_beginning(rare: float = 0.02, noise: float = 1e-4, vocabulary: int = 24) -> Problem:
    """Four right strings for each prompt, that begin with tokens 0 to 3: three likely ones, and a rare one.

    As in a language model most tokens are all but certain: what follows the first one is a choice among three, of which
    the right one has 0.8. So the rare token is among the least likely hundredth of what is sampled, beside noise, first
    tokens that are never right. A wrong token ends in a state in which nothing is chosen any more.
    """
    num_prompts, length, branches = 8, 6, 4
    rng = np.random.default_rng(0)
    right = rng.integers(vocabulary, size=(num_prompts, branches, length - 1))
    of_prompt = 2 + branches * (length - 1)  # its beginning, its end, and the steps of its strings
    states = of_prompt * num_prompts
    logits = np.full((states, vocabulary), -20.0)
    table = np.tile(of_prompt * (np.arange(states) // of_prompt)[:, None] + 1, (1, vocabulary))
    first = np.full(vocabulary, noise)
    first[:branches] = [*[(1 - rare - noise * (vocabulary - branches)) / 3] * 3, rare]
    for prompt in range(num_prompts):
        start = of_prompt * prompt
        logits[start], logits[start + 1, 0] = np.log(first), 0.0
        for branch, step in itertools.product(range(branches), range(length - 1)):
            state = start + 2 + branch * (length - 1) + step
            chosen = right[prompt, branch, step]
            others = (chosen + rng.choice(vocabulary - 1, 2, replace=False) + 1) % vocabulary
            logits[state, chosen], logits[state, others] = math.log(0.8), math.log(0.1)
            table[state, chosen] = min(state + 1, states - 1)
            table[start, branch] = start + 2 + branch * (length - 1)
    beginnings = np.broadcast_to(np.arange(branches)[:, None], (num_prompts, branches, 1))
    solutions = np.concatenate([beginnings, right], axis=-1)
    return Problem(
        start=jnp.asarray(of_prompt * np.arange(num_prompts)),
        next_state=jnp.asarray(table),
        solutions=jnp.asarray(solutions),
        reward=jnp.ones((num_prompts, branches)),
        logits=jnp.asarray(logits, jnp.float32),
    )


def lp_reg(size: Size) -> Result:
    """A right string that needs a token of probability 0.02, beside three that do not, at the paper's constants.

    Training is on policy, as in the paper's main runs. All have one learning rate, the lowest at which most of GRPO's
    runs lose the token, so that there is something to keep it from.
    """
    problem = rare_beginning()
    is_noise = jnp.arange(problem.logits.shape[-1]) > 3

    def per_token(batch: TabularBatch, coefficient: float = 1.0) -> Array:
        proxy = filtered_log_prob(batch.behavior_logits, batch.token)
        return policy.low_probability_surrogate(
            batch.log_prob,
            batch.behavior_log_prob,
            batch.advantage,
            proxy,
            fraction=0.01,
            coefficient=coefficient,
            where=batch.where,
        )

    def measures(after: TabularBatch, logits: Array) -> dict[str, Array]:
        first = jax.nn.softmax(logits[problem.start])
        punished = (after.token == 3) & (jnp.arange(problem.horizon) == 0) & (after.advantage < 0)
        protected = punished & (per_token(after) > per_token(after, coefficient=0.0))
        return {
            # Of prompts, the median: where the rare string has been found its token is no longer rare.
            "rare": jnp.median(first[:, 3]),
            "noise": jnp.mean(jnp.sum(first * is_noise, axis=-1)),
            "punished": jnp.sum(punished),
            "protected": jnp.sum(protected),
        }

    # A run of fewer updates, which only shows that the claim can be tried, is read at its end.
    at_100 = lambda name, curves: curves[name][:, min(99, size.num_updates - 1)]
    run = partial(tuned_run, problem, size=size, group=16, inner_steps=1, measures=measures)
    grpo = run(TabularMethod(), score=lambda curves: 1.0 * (at_100("rare", curves) < 1e-3), statistic=np.median)
    bonus, protecting = (
        run(TabularMethod(loss=loss), learning_rates=(grpo.learning_rate,))
        for loss in (with_bonus, lambda batch: reduce.token_mean(per_token(batch), where=batch.where))
    )
    rare = lambda tuned: at_100("rare", tuned.curves)
    measure = "probability of the rare token after 100 updates, median of prompts"
    findings = [
        Finding(
            "GRPO all but loses the rare token", f"{measure}, against 0.001", rare(grpo), 1e-3, "lower", source="paper"
        ),
        Finding("Lp-Reg keeps it", f"{measure}, against 0.005", rare(protecting), 5e-3, source="paper"),
        Finding("Lp-Reg keeps more of it than GRPO", measure, rare(protecting), rare(grpo), source="paper"),
        Finding("a bonus keeps it", f"{measure}, against 0.005", rare(bonus), 5e-3, source="prediction"),
        Finding(
            "the bonus raises noise more than Lp-Reg does",
            "final probability of the tokens that are never right, initially 0.002; the baseline is Lp-Reg",
            final(bonus.curves["noise"]),
            final(protecting.curves["noise"]),
            source="paper",
        ),
        Finding(
            "pass@32 is higher with Lp-Reg",
            "final pass@32; the baseline is GRPO",
            final(protecting.curves["pass_at_32"]),
            final(grpo.curves["pass_at_32"]),
            source="prediction",
        ),
        # Three likely strings are enough for pass@32, so what the fourth adds is counted too.
        Finding(
            "more right strings are found with Lp-Reg",
            "final number of different right strings in 64 samples; the baseline is GRPO",
            final(protecting.curves["distinct_in_64"]),
            final(grpo.curves["distinct_in_64"]),
            source="prediction",
        ),
    ]
    share = protecting.curves["protected"].sum() / max(protecting.curves["punished"].sum(), 1)
    return findings, {
        "learning rate of all": grpo.learning_rate,
        "share of the punished rare tokens that were protected": round(float(share), 3),
        "final success of GRPO": round(float(final(grpo.curves["success"]).mean()), 3),
        "of Lp-Reg": round(float(final(protecting.curves["success"]).mean()), 3),
        "of the bonus": round(float(final(bonus.curves["success"]).mean()), 3),
    }


def turn_chain(turns: int = 10, actions: int = 4, num_prompts: int = 4) -> Problem:
    """Turns in a row that must all be right, rewarded after the last; 2 % of the first episodes are."""
    rng = np.random.default_rng(0)
    states = np.arange(turns * num_prompts)
    right = rng.integers(actions, size=len(states))
    logits = 0.5 * rng.normal(size=(len(states), actions))
    logits[states, right] += math.log(0.7 / 0.1)
    return Problem(
        start=jnp.asarray(states[::turns]),
        next_state=jnp.asarray(np.tile(np.minimum(states + 1, states[-1])[:, None], (1, actions))),
        solutions=jnp.asarray(right.reshape(num_prompts, 1, turns)),
        reward=jnp.ones((num_prompts, 1)),
        logits=jnp.asarray(logits, jnp.float32),
    )


def epo(size: Size) -> Result:
    """A band around the entropies of the past, on the later half of ten turns of which only the last is rewarded.

    The official band has no gradient, and would leave every run as it is, so it is the hinge that is tried. With a
    published penalty of 0.1 the hinge takes a tenth off the bonus outside of the band; only a penalty above 1 turns
    the force around, so 2 is tried beside it.
    """
    problem = turn_chain()
    coefficient, past = 0.001, running_mean()
    late = jnp.arange(problem.horizon) >= problem.horizon // 2

    def smoothed(penalty: float, batch: TabularBatch) -> Array:
        # A turn is a sequence of one token here.
        band = entropy_band_penalty(
            batch.entropy[..., None], batch.memory.mean, low=0.8, high=1.2, penalty=penalty, kind="hinge"
        )[..., 0]
        weight = two_phase_decay(batch.update, total_steps=size.num_updates)
        bonus = with_bonus(batch, coefficient=coefficient)
        return bonus + coefficient * weight * reduce.token_mean(jnp.where(late, band, 0), where=batch.where)

    def remember(batch: TabularBatch) -> TabularBatch:
        _, memory = past.update(batch.memory, jnp.mean(batch.entropy, axis=(0, 1)))
        return batch._replace(memory=memory)

    def measures(after: TabularBatch, logits: Array) -> dict[str, Array]:
        per_turn = problems.occupancy(problem, logits) @ categorical_entropy(logits)
        outside = entropy_band_penalty(after.entropy[..., None], after.memory.mean, low=0.8, high=1.2, penalty=1.0)
        return {"per_turn": per_turn[problem.horizon // 2 :], "outside": jnp.mean(outside[..., 0], where=late)}

    def trained(loss: Any) -> Tuned:
        method = TabularMethod(
            loss=loss, memory=lambda problem: past.init(jnp.zeros(problem.horizon)), remember=remember
        )
        return tuned_run(problem, method, size, measures=measures)

    plain = trained(partial(with_bonus, coefficient=coefficient))
    runs = {penalty: trained(partial(smoothed, penalty)) for penalty in (0.1, 2.0)}
    variance = lambda tuned: tuned.curves["per_turn"].var(axis=1).mean(-1)
    change = lambda tuned: np.abs(np.diff(tuned.curves["per_turn"], axis=1)).mean(axis=(1, 2))
    findings = []
    for penalty, run in runs.items():
        source = "paper" if penalty == 0.1 else "prediction"
        findings += [
            Finding(
                f"entropy varies less over training with penalty {penalty}",
                "variance over updates of a turn's entropy, mean of turns 6 to 10 (nats²); the baseline has the bonus",
                variance(run),
                variance(plain),
                "lower",
                source=source,
            ),
            # The variance over training has the fall of the entropy in it, and that is no oscillation.
            Finding(
                f"entropy changes less from update to update with penalty {penalty}",
                "mean |change| of a turn's entropy, turns 6 to 10 (nats); the baseline has the bonus",
                change(run),
                change(plain),
                "lower",
                source=source,
            ),
            no_loss_of_success(run, plain, "the bonus"),
        ]
    return findings, {
        "learning rate of the bonus": plain.learning_rate,
        **{f"of penalty {penalty}": run.learning_rate for penalty, run in runs.items()},
        "share of late turns outside of the band, bonus alone": round(float(plain.curves["outside"].mean()), 3),
    }


CLAIMS = {
    "siren": Claim(
        "SIREN",
        "(Jiang et al., 2025, arXiv 2509.25133)",
        (
            "rlx.regularizers.entropy.nucleus_entropy",
            "rlx.regularizers.entropy.anchored_entropy",
            "rlx.weighting.quantile_mask",
            "rlx.controllers.first_value",
        ),
        siren,
    ),
    "lp_reg": Claim(
        "Lp-Reg",
        "(Huang et al., 2025, arXiv 2510.03222)",
        ("rlx.losses.policy.low_probability_surrogate", "rlx.policies.filtered_log_prob"),
        lp_reg,
        right_bench="The pull is to the policy that sampled, renormalized without its noise, so on policy it is as "
        "strong as the noise is likely. And in a table a rare token falls as often because others rise as because it "
        "is punished. The paper's effect takes a network whose tokens have heavy tails, and a thousand updates: there "
        "the share of rare words such as 'wait' among the sampled ones would stay with Lp-Reg and vanish without",
    ),
    "epo": Claim(
        "EPO",
        "(Xu et al., 2025, arXiv 2509.22576)",
        (
            "rlx.regularizers.entropy.entropy_band_penalty",
            "rlx.controllers.running_mean",
            "rlx.controllers.two_phase_decay",
        ),
        epo,
    ),
}
