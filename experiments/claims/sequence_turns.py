"""Policies that speak several times: claims about second attempts, about retries, and about credit of turns."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from experiments.claims.sequence_rollouts import joined
from experiments.claims.sequence_training import (
    CONFIG,
    MARGIN,
    QUICK,
    SIZE,
    Laboratory,
    Numbers,
    Side,
    curves_of,
    is_quick,
    laboratory_of,
    more_accurate,
    no_less_accurate,
    settings_of,
)
from experiments.claims.verdicts import Claim, Finding, Size
from rlx import reduce, returns
from rlx.algorithms.grpo import Method, score
from rlx.algorithms.responses import Responses
from rlx.envs import language
from rlx.envs.language.protocol import SPECIAL, Problem, TokenTask, Verdict, hash_of
from rlx.losses import policy
from rlx.policies import transformer
from rlx.recipes.language_methods import make_method
from rlx.regularizers.divergence import kl_estimate
from rlx.rewards import self_correction
from rlx.training import responses
from rlx.weighting import suffix_mask


def two_attempts(task: TokenTask, *, mistakes: float = 0.0) -> TokenTask:
    """A task of one turn, with a second attempt that is the one that counts; in between `=` asks for it.

    An attempt is a step of reasoning, so that the first error tells which of them is right.

    Args:
        task: the task.
        mistakes: share of the prompts to which the solution's first attempt has a wrong symbol, drawn from the prompt.
    """
    room, asks, symbols = task.turn_length, task.encode("=")[0], len(task.vocabulary) - len(SPECIAL)

    def reply(problem: Problem, token: Int[Array, " turn"], where: Bool[Array, " turn"], turn: int):
        return jnp.full(1, asks, jnp.int32), where[:1]

    def solve(problem: Problem) -> Int[Array, " response"]:
        once = task.solve(problem)
        draw = jax.random.fold_in(jax.random.key(0), hash_of(problem.prompt, problem.where))
        is_wrong, where, other = jax.random.split(draw, 3)
        content = once >= len(SPECIAL)
        place = jnp.argmax(jnp.where(content, jax.random.uniform(where, once.shape), -1.0))
        shift = jax.random.randint(other, (), 1, symbols)
        wrong = once.at[place].set((once[place] - len(SPECIAL) + shift) % symbols + len(SPECIAL))
        first = jnp.where(jax.random.bernoulli(is_wrong, mistakes), wrong, once)
        return jnp.concatenate([first, jnp.full(1, asks, once.dtype), once])

    def verify(problem: Problem, token: Int[Array, " response"], where: Bool[Array, " response"]) -> Verdict:
        first, second = (task.verify(problem, token[part], where[part]) for part in (slice(room), slice(-room, None)))
        wrong = jnp.where(second.correct, len(token), room + 1)
        return Verdict(
            correct=second.correct,
            answer=second.answer,
            first_error=jnp.where(first.correct, wrong, 0),
            step=jnp.where(where, (jnp.arange(len(token)) > room) * 1, -1),
        )

    return dataclasses.replace(task, solve=solve, verify=verify, num_turns=2, reply_length=1, reply=reply)


def attempts(batch: Responses) -> tuple[Bool[Array, "prompt group"], Bool[Array, "prompt group"]]:
    """Whether the first attempt is right, and the second."""
    return batch.first_error > 0, batch.correct


def of_attempts(problems: Any, batch: Responses) -> dict[str, Float[Array, ""]]:
    """How the second attempts compare with the first."""
    first, second = attempts(batch)
    room = batch.token.shape[-1] // 2
    edited = jnp.any(batch.token[..., :room] != batch.token[..., -room:], axis=-1)
    share = lambda x, where=None: reduce.mean(x * 1.0, where=where)
    return {
        "first_accuracy": share(first),
        "improvement": share(second) - share(first),
        "edited": share(edited),
        "spoiled": share(~second, first),
    }


def score_side(numbers: Numbers) -> Side:
    """SCoRe: a `bonus` for improving, after `until` updates of a first stage; with neither, two rewarded turns.

    The first stage rewards the second attempt alone and holds the first to the policy that it began with. After it each
    attempt is rewarded by itself, and the bonus is the second's. REINFORCE with the mean of the others as a baseline,
    of each attempt apart, and sums over tokens, as rewards and divergences are of whole attempts.
    """
    in_first_stage = lambda batch: batch.update < numbers["until"]

    def advantage(batch: Responses) -> Float[Array, "prompt group time"]:
        over_others = lambda x: returns.group_relative(x, center="leave_one_out", scale="none")
        first, second = (right * 1.0 for right in attempts(batch))
        improved = self_correction(first, second, coefficient=numbers["bonus"])
        of_first = over_others(jnp.where(in_first_stage(batch), second, first))
        of_second = over_others(jnp.where(in_first_stage(batch), second, improved))
        return jnp.where(batch.step == 0, of_first[..., None], of_second[..., None])

    def loss(batch: Responses) -> Float[Array, ""]:
        gradient = policy.policy_gradient(batch.log_prob, batch.advantage, where=batch.where)
        # On the policy's own samples k2 is the estimator whose gradient is that of the divergence.
        divergence = kl_estimate(batch.log_prob, batch.reference_log_prob, kind="k2", where=batch.where)
        strength = jnp.where(in_first_stage(batch) & (batch.step == 0), 0.1, 0.01)
        return reduce.sequence_mean(gradient + strength * divergence, where=batch.where, inner="sum")

    return Side(Method(uses=frozenset({"reference"}), advantage=advantage, loss=loss))


def score_claim(size: Size) -> tuple:
    """Addition with a second attempt that sees the first; the warm-up's first attempts are wrong every other time.

    Where first attempts were always right, a policy would learn to copy them before it is ever rewarded.
    """
    once = language.make("addition", digits=2)
    task, shown = two_attempts(once), two_attempts(once, mistakes=0.5)
    laboratory = Laboratory(CONFIG, size, task=task, demonstrated=shown, measures=of_attempts)
    # REINFORCE has no ratio: one gradient step on each batch.
    side = laboratory.trainer(score_side, minibatches=1)
    runs = {
        "SCoRe": side.tuned({"bonus": 10.0, "until": size.num_updates / 2}),
        "two rewarded turns": side.tuned({"bonus": 0.0, "until": 0.0}),
    }
    shaped, plain = runs.values()
    findings = [
        Finding(
            "the second attempt is better than the first",
            "accuracy of second less that of first attempts at the end; against 0",
            shaped.last("improvement"),
            0.0,
            source="paper",
        ),
        Finding(
            "by more than where each attempt is rewarded by itself",
            "the same; against two rewarded turns",
            shaped.last("improvement"),
            plain.last("improvement"),
            source="paper",
        ),
        Finding(
            "without the bonus second attempts become copies",
            "share of second attempts that differ from the first, two rewarded turns; at the end against the policy "
            "before",
            plain.last("edited"),
            plain.first("edited"),
            "lower",
            source="paper",
        ),
        Finding(
            "fewer right attempts are spoiled",
            "share of right first attempts with a wrong second at the end; against two rewarded turns",
            shaped.last("spoiled"),
            plain.last("spoiled"),
            "lower",
            source="paper",
        ),
        Finding(
            f"second attempts are no {MARGIN} less accurate",
            f"accuracy at the end; the baseline is that of two rewarded turns less {MARGIN}",
            shaped.last("accuracy"),
            plain.last("accuracy") - MARGIN,
            source="prediction",
        ),
    ]
    first = {
        name: [run.first("first_accuracy").mean(), run.last("first_accuracy").mean()] for name, run in runs.items()
    }
    measured = {f"{name}, first attempts": f"accuracy {start:.2f} to {end:.2f}" for name, (start, end) in first.items()}
    panels = {"accuracy": "accuracy of second attempts", "first_accuracy": "of first attempts", "edited": "edited"}
    return findings, settings_of(runs) | measured, curves_of(runs, panels)


def table_laboratory(warmup_steps: int, size: Size) -> Laboratory:
    """Three values looked up in a table and added, in four turns; two turns to see that a claim runs."""
    terms = 1 if is_quick(size) else 3
    return laboratory_of(
        dataclasses.replace(CONFIG, task=f"tool@terms={terms}@keys=6", warmup_steps=warmup_steps), size
    )


def right_turns(task: TokenTask, batch: Responses) -> Float[Array, "prompt group"]:
    """The share of turns before the first wrong one, and 1 for a right response, as a graded reward."""
    turn = batch.first_error // (task.turn_length + task.reply_length)
    return jnp.where(batch.correct, 1.0, turn / task.num_turns)


def retried(
    key: PRNGKeyArray,
    config: transformer.Config,
    params: PyTree,
    task: TokenTask,
    problems: Any,
    *,
    group_size: int,
    guided: Bool[Array, ""] | bool = True,
    **sampling: Any,
) -> Responses:
    """Half a group of responses, and a retry of each that failed, from its first wrong turn on.

    The verifier stands for the reflection that names the turn, and the solution's turn in its place for what a policy
    writes under guidance; the rest is the policy's, which does not see the guidance. `extras` has the number of
    turns before the retry, and whether a response counts: there is no retry of a right one. Where not `guided`, the
    second half are responses like those of the first.
    """
    first_key, retry_key = jax.random.split(key)
    half = {"group_size": group_size // 2}
    first = responses.rollout(first_key, config, params, task, problems, **half, **sampling)
    stride = task.turn_length + task.reply_length
    pivot = jnp.where(guided & ~first.correct, first.first_error // stride, 0)
    turn, place = jnp.divmod(jnp.arange(task.response_length), stride)
    is_pivot = (turn == pivot[..., None]) & guided & ~first.correct[..., None]
    solution = jax.vmap(task.solve)(problems)[:, None]
    told = is_pivot & (place < task.turn_length) & (solution != task.pad_token)
    keep = (first.where & (turn < pivot[..., None])) | told
    token = jnp.where(is_pivot, solution, first.token)
    second = responses.rollout(retry_key, config, params, task, problems, given=(token, keep), **half, **sampling)
    counts = jnp.concatenate([jnp.ones_like(first.correct), ~(guided & first.correct)], axis=1)
    return joined(first, second)._replace(extras=(jnp.concatenate([pivot, pivot], axis=1), counts))


def amplified_advantage(batch: Responses, factor: Float[Array, ""]) -> Float[Array, "prompt group"]:
    """R³L's, of responses that count."""
    return returns.amplified(batch.reward, factor=factor, where=batch.extras[1])


def pivotal(batch: Responses) -> Bool[Array, "prompt group time"]:
    """The tokens that are learned from: of a failed response and of its retry, those from the pivot on."""
    pivot, counts = batch.extras
    return suffix_mask(batch.where, pivot) & counts[..., None]


def r3l(size: Size) -> tuple:
    """Looking values up and adding them, turn by turn, by a policy that seldom gets through; a turn is a step.

    Rewards are graded by turns: with right and wrong alone nothing but successes has a positive advantage, theirs is 1,
    and amplification would have nothing to act on. Without retries, as many responses are sampled anew.
    """
    laboratory = table_laboratory(100, size)
    task, structure = laboratory.task, laboratory.structure

    def side(numbers: Numbers) -> Side:
        def sample(*given: Any, **options: Any) -> Responses:
            return retried(*given, guided=numbers["guided"] > 0, **options)

        def advantage(batch: Responses) -> Float[Array, "prompt group time"]:
            own = amplified_advantage(batch, numbers["factor"])
            relative = returns.group_relative(batch.reward, where=batch.extras[1])
            return jnp.broadcast_to(jnp.where(numbers["factor"] > 0, own, relative)[..., None], batch.token.shape)

        def loss(batch: Responses) -> Float[Array, ""]:
            gradient = policy.policy_gradient(batch.log_prob, batch.advantage, scale=0.5, where=batch.where)
            return reduce.token_mean(gradient, where=batch.where)

        method = Method(
            reward=lambda batch: right_turns(task, batch),
            advantage=advantage,
            remember=lambda batch: batch._replace(where=pivotal(batch)),
            loss=loss,
        )
        return Side(method, sample)

    def balance(params: PyTree, seed: Int[Array, ""], factor: Float[Array, ""]) -> Float[Array, ""]:
        """Norm of the gradient of responses above the mean over that of those below, at the policy before."""
        draw_key, sample_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), 3))
        problems = responses.draw(draw_key, task, "train", laboratory.config.num_prompts)
        sizes = {"group_size": laboratory.config.group_size}
        batch = retried(sample_key, structure, params, task, problems, **sizes)
        batch = batch._replace(reward=right_turns(task, batch))
        advantage, where = amplified_advantage(batch, factor)[..., None], pivotal(batch)

        def part(params: PyTree, sign: Float[Array, ""]) -> Float[Array, ""]:
            log_prob = score(structure, params, batch).log_prob
            kept = jnp.where(sign * advantage > 0, advantage, 0.0)
            return reduce.token_mean(policy.policy_gradient(log_prob, kept, scale=0.5, where=where), where=where)

        above, below = jax.vmap(lambda sign: optax.tree.norm(jax.grad(part)(params, sign)))(jnp.array([1.0, -1.0]))
        return above / below

    trainer = laboratory.trainer(side)
    runs = {
        "R³L": trainer.tuned({"guided": 1.0, "factor": 3.0}),
        "not amplified": trainer.tuned({"guided": 1.0, "factor": 1.0}),
        "no retries": trainer.tuned({"guided": 0.0, "factor": 0.0}),
    }
    whole, plain, without = runs.values()
    measure = jax.jit(lambda rows, factor: jax.lax.map(lambda row: balance(*row, factor), rows))

    def balances(factor: float) -> Float[np.ndarray, " seed"]:
        firsts = range(0, size.num_seeds, laboratory.lanes)
        rows = [(laboratory.policy(first)[0], laboratory.seeds(first)) for first in firsts]
        return np.concatenate([np.asarray(measure(row, jnp.float32(factor))) for row in rows])[: size.num_seeds]

    of_gradient = "norm of the gradient of responses above the mean over that of those below, before training; "
    findings = [
        Finding(
            "amplified, successes lead the gradient", of_gradient + "against 1", balances(3.0), 1.0, source="paper"
        ),
        Finding("not amplified, failures do", of_gradient + "against 1", balances(1.0), 1.0, "lower", source="paper"),
        more_accurate(whole, plain, "amplification helps", "a factor of 1", source="paper"),
        more_accurate(whole, without, "the whole helps", "standardized advantages and no retries", source="paper"),
        Finding(
            "training does not collapse",
            "accuracy at the end; against the best of its evaluations less 0.1",
            whole.last("accuracy"),
            whole.evaluations["accuracy"].max(axis=1) - 0.1,
            source="paper",
        ),
    ]
    return findings, settings_of(runs), curves_of(runs, {"accuracy": "accuracy", "entropy": "entropy (nats)"})


def empg_turns(size: Size) -> tuple:
    """Looking values up and adding them: credit of turns by how sure the policy was of them, against uniform credit."""
    laboratory = table_laboratory(200, size)
    method = make_method("empg", num_steps=laboratory.task.num_turns)
    runs = {
        "EMPG": laboratory.trainer(lambda numbers: Side(method)).tuned(),
        "GRPO": laboratory.grpo,
    }
    modulated, uniform = runs.values()
    findings = [
        Finding(
            "learning is faster than with uniform credit",
            "accuracy, mean over evaluations; against GRPO",
            modulated.evaluations["accuracy"].mean(axis=1),
            uniform.evaluations["accuracy"].mean(axis=1),
            source="paper",
        ),
        no_less_accurate(modulated, uniform, "GRPO"),
    ]
    return findings, settings_of(runs), curves_of(runs, {"accuracy": "accuracy", "entropy": "entropy (nats)"})


CLAIMS = {
    "score": Claim(
        "SCoRe",
        "(Kumar et al., 2024, arXiv 2409.12917)",
        ("rlx.rewards.self_correction", "rlx.regularizers.divergence.kl_estimate"),
        score_claim,
        SIZE,
        QUICK,
        "tokens",
        data="addition@digits=2 in two attempts, prompts drawn anew",
    ),
    "r3l": Claim(
        "R³L",
        "(Shi et al., 2026, arXiv 2601.03715)",
        ("rlx.returns.amplified", "rlx.weighting.suffix_mask"),
        r3l,
        # Responses of four turns, half of them sampled twice.
        Size(num_seeds=8, num_updates=64),
        QUICK,
        "tokens",
        data="tool@terms=3@keys=6, prompts drawn anew",
    ),
    "empg_turns": Claim(
        "EMPG, over turns",
        "(Wang et al., 2025, arXiv 2509.09265)",
        ("rlx.returns.entropy_modulated",),
        empg_turns,
        SIZE,
        QUICK,
        "tokens",
        data="tool@terms=3@keys=6, prompts drawn anew",
    ),
}
