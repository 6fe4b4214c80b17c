"""How entropy is steered, and by which tokens: claims about targets, and about the entropy discriminator."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from experiments.claims import problems
from experiments.claims.entropy_control import forks, not_lower, tuned_run
from experiments.claims.findings import Result, final
from experiments.claims.problems import Problem
from experiments.claims.training import TabularBatch, TabularMethod, Tuned, make_train
from experiments.claims.verdicts import Claim, Finding, Size
from rlx import diagnostics, reduce, returns, weighting
from rlx.algorithms.grpo import token_loss
from rlx.controllers import entropy_temperature
from rlx.losses import policy
from rlx.regularizers.entropy import categorical_entropy


def relative_error(tuned: Tuned, target: float) -> np.ndarray:
    """Distance of the final entropy from a target, as a share of the target."""
    return np.abs(final(tuned.curves["entropy"]) - target) / target


LOWEST = 0.3
"""The lowest entropy that is to be held, in nats."""


def falling(problem: Problem, size: Size, **options: Any) -> Tuned:
    """GRPO at the lowest rate at which most runs end below that: what methods at the same rate are to prevent."""
    falls = lambda curves: 1.0 * (final(curves["entropy"]) < LOWEST)
    return tuned_run(problem, TabularMethod(), size, score=falls, statistic=np.median, **options)


def aepo(size: Size) -> Result:
    """Imitation of successes sampled at a temperature that depends on the entropy: eight rollouts and two such.

    GRPO has ten rollouts, as the extra ones are a quarter more in the official code, too. As in the paper all have one
    learning rate: the lowest at which GRPO's entropy falls below every target, since that is what is to be prevented.
    Three times that rate is tried beside it.
    """
    problem, group, extra = forks(12, 3, right=4, likely=8), 8, 2
    # Every target is a program to compile; to see that the claim runs, one will do.
    targets = (LOWEST, 0.6, 1.0) if size.num_seeds > 2 else (0.6,)
    size = size._replace(num_updates=3 * size.num_updates)

    def steered(target: float) -> TabularMethod:
        def add_tempered(batch: TabularBatch) -> TabularBatch:
            entropy = jnp.mean(batch.entropy)
            temperature = entropy_temperature(entropy, target=target)
            tempered = problems.sample(problem, batch.table / temperature, batch.key, extra)
            log_policy = jax.nn.log_softmax(batch.table)[tempered.state]
            log_prob = jnp.take_along_axis(log_policy, tempered.token[..., None], axis=-1)[..., 0]
            successes = jnp.broadcast_to(tempered.reward[..., None], tempered.token.shape)
            join = lambda rollouts, others: jnp.concatenate([rollouts, others], axis=1)
            return batch._replace(
                state=join(batch.state, tempered.state),
                token=join(batch.token, tempered.token),
                reward=join(batch.reward, tempered.reward),
                advantage=join(batch.advantage, successes),
                behavior_log_prob=join(batch.behavior_log_prob, log_prob),
                # What does not count for GRPO's loss is what the other term is about.
                where=join(batch.where, jnp.zeros(tempered.token.shape, bool)),
                # A success weighs as much as one of GRPO's rollouts, and half above the target, as in the code.
                memory=jnp.where(entropy > target, 0.5, 1.0) * extra / group,
            )

        def loss(batch: TabularBatch) -> Array:
            imitation = policy.policy_gradient(batch.log_prob, batch.advantage, scale=batch.memory, where=~batch.where)
            return token_loss(batch) + reduce.token_mean(imitation, where=~batch.where)

        return TabularMethod(loss=loss, memory=lambda problem: jnp.ones(()), remember=add_tempered)

    grpo = falling(problem, size, group=group + extra)
    at_rate = lambda target, rate: tuned_run(problem, steered(target), size, group=group, learning_rates=(rate,))
    runs = {target: at_rate(target, grpo.learning_rate) for target in targets}
    faster = {target: at_rate(target, 3 * grpo.learning_rate) for target in targets}
    findings = [
        Finding(
            f"entropy ends within 20 % of the target of {target} nats{where}",
            "|final entropy − target| / target, against 0.2",
            relative_error(run, target),
            0.2,
            "lower",
            source=source,
        )
        for of, where, source in ((runs, "", "paper"), (faster, ", also at three times the rate", "prediction"))
        for target, run in of.items()
    ]
    findings.append(
        Finding(
            "control: GRPO's ends below all targets",
            f"final entropy (nats), against {LOWEST}",
            final(grpo.curves["entropy"]),
            LOWEST,
            "lower",
            source="prediction",
        )
    )
    findings += [
        Finding(
            f"a target of 0.6 gives more success than one of {other}",
            f"final success; the baseline has the target {other}",
            final(runs[0.6].curves["success"]),
            final(runs[other].curves["success"]),
            source="paper",
        )
        for other in targets
        if other != 0.6
    ]
    return findings, {"updates": size.num_updates, "GRPO": outcome(grpo)} | {
        f"target {target} at {run.learning_rate:.2g}": outcome(run)
        for of in (runs, faster)
        for target, run in of.items()
    }


def outcome(tuned: Tuned) -> str:
    """Learning rate, and where entropy and success end."""
    entropy, success = (final(tuned.curves[name]).mean() for name in ("entropy", "success"))
    return f"learning rate {tuned.learning_rate}, final entropy {entropy:.3f}, success {success:.3f}"


def dcpo(size: Size) -> Result:
    """The same without other samples: successes weighted as a tempered policy would have sampled them.

    From above the start has 2.2 nats, from below 0.4, as one right string has most of the probability. As for AEPO all
    have one learning rate, the lowest at which GRPO's entropy falls below every target, from above.
    """
    wide = forks(12, 3, right=4, likely=8)
    first = wide.solutions[:, :1]
    narrow = wide._replace(logits=wide.logits.at[problems.visited(wide, first), first].add(5.0))
    cases = [("above", LOWEST, wide), ("above", 1.0, wide), ("below", 0.6, narrow), ("below", 1.0, narrow)]
    cases = cases if size.num_seeds > 2 else cases[:1]
    size = size._replace(num_updates=3 * size.num_updates)
    grpo = falling(wide, size)

    def advantage(target: float, weighted: bool, batch: TabularBatch) -> Array:
        entropy = jnp.mean(batch.entropy)
        tempered = jax.nn.log_softmax(batch.behavior_logits / entropy_temperature(entropy, target=target))
        log_prob = jnp.take_along_axis(tempered, batch.token[..., None], axis=-1)[..., 0]
        return returns.target_distribution_advantage(
            returns.group_relative(batch.reward),
            batch.reward > 0,
            batch.behavior_log_prob,
            log_prob if weighted else batch.behavior_log_prob,
            entropy,
            target_entropy=target,
            where=batch.where,
        )

    findings: list[Finding] = []
    settings: dict[str, Any] = {"updates": size.num_updates, "GRPO from above": outcome(grpo)}
    for side, target, problem in cases:
        trained = lambda weighted, problem=problem, target=target: tuned_run(
            problem,
            TabularMethod(advantage=partial(advantage, target, weighted)),
            size,
            learning_rates=(grpo.learning_rate,),
        )
        run, ablated = trained(True), trained(False)
        measure = "|final entropy − target| / target"
        findings += [
            Finding(
                f"from {side}, entropy ends within 20 % of the target of {target} nats",
                f"{measure}, against 0.2",
                relative_error(run, target),
                0.2,
                "lower",
                source="paper" if side == "above" else "prediction",
            ),
            Finding(
                f"from {side}, it ends nearer to {target} nats than without the weights",
                f"{measure}; the baseline has ρ = 1",
                relative_error(run, target),
                relative_error(ablated, target),
                "lower",
                source="prediction",
            ),
        ]
        settings |= {f"{target} from {side}": outcome(run), f"{target} from {side}, ρ = 1": outcome(ablated)}
    return findings, settings


def entropy_discriminator(size: Size) -> Result:
    """What the sign and size of S = p·(H + log p) tell of the entropy, in single small steps and over a training."""
    problem = problems.language(likelihood=3.0, confidence=1.0)

    def measures(after: TabularBatch, logits: Array) -> dict[str, Array]:
        predicted = diagnostics.entropy_change(
            after.behavior_log_prob,
            categorical_entropy(after.behavior_logits),
            diagnostics.entropy_discriminator_baseline(after.behavior_logits),
            after.advantage,
            step_size=1 / after.token.size,  # for a learning rate of 1, which a correlation does not depend on
        )
        change = categorical_entropy(logits) - categorical_entropy(after.table)
        of_state = jnp.zeros(len(logits)).at[after.state].add(predicted)
        return {
            "predicted_sum": jnp.sum(predicted),
            "predicted_mean": jnp.mean(of_state[after.state]),
            "change_sum": jnp.sum(change),
            # The part of it that is not a change of which states are visited.
            "change_there": jnp.mean(problems.occupancy(problem, after.table) @ change),
            "change_mean": problems.token_entropy(problem, logits) - problems.token_entropy(problem, after.table),
        }

    # Gradient descent without moments, one step on a batch: the step that the prediction is of.
    train = make_train(
        problem, TabularMethod(optimizer=optax.sgd), num_updates=size.num_updates, inner_steps=1, measures=measures
    )
    keys = jax.vmap(jax.random.key)(jnp.arange(size.num_seeds))
    small, large = 1.0, 100.0
    program = jax.jit(jax.vmap(jax.vmap(train, in_axes=(0, None)), in_axes=(None, 0)))
    curves = jax.tree.map(np.asarray, program(keys, jnp.array([small, large])))

    def correlation(predicted: str, changed: str, rate: int = 0) -> np.ndarray:
        # An update without mixed groups changes nothing, as predicted: counting it would make agreement cheap.
        rows = zip(*(curves[name][rate] for name in (predicted, changed, "mixed_groups")), strict=True)
        return np.array([np.corrcoef(p[m > 0], c[m > 0])[0, 1] if (m > 0).sum() > 2 else np.nan for p, c, m in rows])

    told = lambda *values: ", ".join(f"{np.mean(value):.3f}" for value in values)

    def kept(sign_of_advantage: Array, sign_of_s: Array, batch: TabularBatch) -> TabularBatch:
        s = diagnostics.entropy_discriminator(batch.log_prob, batch.entropy)
        return batch._replace(where=(sign_of_advantage * batch.advantage > 0) & (sign_of_s * s > 0))

    occupied = problems.occupancy(problem, problem.logits)
    there = lambda after, logits: {"entropy_there": jnp.mean(occupied @ categorical_entropy(logits))}

    def intervention(key: Array, learning_rate: Any) -> dict[str, Array]:
        def one(advantage: Array, s: Array) -> dict[str, Array]:
            method = TabularMethod(remember=partial(kept, advantage, s))
            return make_train(problem, method, num_updates=size.num_updates, measures=there)(key, learning_rate)

        return jax.vmap(one)(jnp.array([1.0, 1.0, -1.0, -1.0]), jnp.array([1.0, -1.0, 1.0, -1.0]))

    # The signs are those of a small step, so the lowest rate is judged; the highest is told in the settings.
    rates = (size.learning_rates[0], size.learning_rates[-1])
    program = jax.jit(jax.vmap(jax.vmap(intervention, in_axes=(0, None)), in_axes=(None, 0)))
    ways = jax.tree.map(np.asarray, program(keys, jnp.array(rates)))
    final_of_ways = lambda name, rate: [final(curve) for curve in np.moveaxis(ways[name][rate], 1, 0)]
    start = float(problems.token_entropy(problem, problem.logits))
    findings = [
        Finding(
            "the prediction agrees with the change at the visited states",
            "correlation of ΣΔH with the change of the sum of all states' entropies, against 0.9",
            correlation("predicted_sum", "change_sum"),
            0.9,
            source="paper",
        ),
        Finding(
            "the prediction agrees with the change of the policy's entropy",
            "correlation of the mean ΔH of the batch's tokens with the change of the entropy, against 0.9",
            correlation("predicted_mean", "change_mean"),
            0.9,
            source="prediction",
        ),
    ]
    signs = itertools.product(("rewarded", "punished"), ("S > 0", "S < 0"))
    for (side, sign), entropy in zip(signs, final_of_ways("entropy", 0), strict=True):
        falls = (side == "rewarded") == (sign == "S > 0")
        findings.append(
            Finding(
                f"learning from {side} tokens with {sign} alone makes entropy {'fall' if falls else 'rise'}",
                "final entropy (nats), against the initial one",
                entropy,
                start,
                "lower" if falls else "higher",
                source="paper",
            )
        )
    return findings, {
        "learning rate of the single steps": small,
        "correlation with the change at an unchanged occupancy": told(correlation("predicted_mean", "change_there")),
        f"correlations at {large}": told(
            correlation("predicted_sum", "change_sum", 1), correlation("predicted_mean", "change_mean", 1)
        ),
        "learning rate of the four ways": rates[0],
        "their final entropies at the initial occupancy": told(*final_of_ways("entropy_there", 0)),
        f"their final entropies at {rates[1]}": told(*final_of_ways("entropy", 1)),
    }


def clip_b(size: Size) -> Result:
    """GRPO without the punished tokens whose S is far below the mean.

    Far is one standard deviation: at most tokens of a language model S is 0 and the deviation small, but here every
    token is a choice, none is 2.5 deviations below the mean, and 8 % of the initial policy's are one.
    """
    problem = problems.language(likelihood=3.0, confidence=1.0)

    def without_outliers(batch: TabularBatch) -> TabularBatch:
        keep = weighting.entropy_discriminator_mask(
            batch.log_prob, batch.entropy, batch.advantage, threshold=1.0, where=batch.where
        )
        return batch._replace(where=keep)

    measures = lambda after, logits: {"dropped": jnp.mean(~after.where)}
    grpo = tuned_run(problem, TabularMethod(), size, measures=measures)
    clipped = tuned_run(problem, TabularMethod(remember=without_outliers), size, measures=measures)
    findings = [
        Finding(
            "entropy stays higher",
            "entropy (nats), mean over updates",
            clipped.curves["entropy"].mean(1),
            grpo.curves["entropy"].mean(1),
            source="paper",
        ),
        not_lower("pass_at_8", clipped, grpo, "GRPO"),
    ]
    return findings, {
        "learning rate of GRPO": grpo.learning_rate,
        "of Clip_B": clipped.learning_rate,
        "share of tokens dropped": round(float(clipped.curves["dropped"].mean()), 4),
    }


CLAIMS = {
    "aepo": Claim(
        "AEPO",
        "(Wang et al., 2025, arXiv 2510.08141)",
        ("rlx.controllers.entropy_temperature", "rlx.losses.policy.policy_gradient"),
        aepo,
        right_bench="What more entropy costs in success shows here, and what it gains does not: every solution is "
        "likely from the start. Accuracy that first rises and then falls with the target takes held-out "
        "problems whose solutions have to be found by exploring",
    ),
    "clip_b": Claim(
        "Clip_B", "(Wang et al., 2026, arXiv 2602.03392)", ("rlx.weighting.entropy_discriminator_mask",), clip_b
    ),
    "dcpo": Claim(
        "DCPO",
        "(Li et al., 2026, arXiv 2601.12730)",
        ("rlx.returns.target_distribution_advantage", "rlx.controllers.entropy_temperature"),
        dcpo,
    ),
    "entropy_discriminator": Claim(
        "Entropy discriminator",
        "(Wang et al., 2026, arXiv 2602.03392)",
        (
            "rlx.diagnostics.entropy_discriminator",
            "rlx.diagnostics.entropy_discriminator_baseline",
            "rlx.diagnostics.entropy_change",
        ),
        entropy_discriminator,
    ),
}
