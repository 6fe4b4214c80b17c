"""Language models that say more than they need to: claims about the length of responses."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from experiments.claims.sequence_training import (
    CONFIG,
    QUICK,
    SIZE,
    Laboratory,
    Numbers,
    Side,
    curves_of,
    few_prompts,
    no_less_accurate,
    settings_of,
)
from experiments.claims.verdicts import Claim, Finding, Size
from rlx import reduce
from rlx.algorithms.grpo import Method
from rlx.algorithms.responses import Responses
from rlx.controllers import best_length
from rlx.envs import language
from rlx.envs.language.protocol import Problem, TokenTask, compact, hash_of
from rlx.rewards import history_length

NUM_PROMPTS = 64
"""Training prompts: each comes up every four updates, so that there is a history to speak of."""


def with_detours(task: TokenTask) -> TokenTask:
    """The walks of a path task with detours: half of the moves are made, taken back and made again.

    Which ones is drawn from the prompt, so that to who reads many of them it is chance.
    """
    up = task.encode("U")[0]

    def solve(problem: Problem) -> Int[Array, " response"]:
        direct = task.solve(problem)
        moves = direct >= up
        back = jnp.where(moves, up + (direct - up + 2) % 4, direct)
        draw = jax.random.fold_in(jax.random.key(0), hash_of(problem.prompt, problem.where))
        detour = moves & jax.random.bernoulli(draw, 0.5, moves.shape)
        room = (len(direct) - jnp.sum(direct != task.pad_token)) // 2
        detour = detour & (jnp.cumsum(detour) <= room)
        thrice = jnp.stack([direct, back, direct], axis=1).reshape(-1)
        where = jnp.stack([detour, detour, direct != task.pad_token], axis=1).reshape(-1)
        return compact(thrice, where, len(direct))

    return dataclasses.replace(task, solve=solve)


def lengths(task: TokenTask) -> Any:
    """Measures of the length of right and of wrong responses, and of the tokens that right ones could do without."""

    def measures(problems: Any, batch: Responses) -> dict[str, Float[Array, ""]]:
        shortest = jnp.sum(jax.vmap(task.solve)(problems) != task.pad_token, axis=-1)[:, None]
        # A run without a right response has no length of them, and is as bad as the worst.
        mean = lambda x, where: jnp.where(jnp.any(where), reduce.mean(x * 1.0, where=where), jnp.nan)
        return {
            "right_length": mean(batch.length, batch.correct),
            "wrong_length": mean(batch.length, ~batch.correct),
            "excess": mean(batch.length - shortest, batch.correct),
        }

    return measures


def hapo(size: Size) -> tuple:
    """Walks through a grid by a policy that learned them with detours; GRPO on accuracy and length.

    The penalty on length has the same form everywhere: relative to the shortest right walk so far to the prompt, or to
    one budget for all, the mean length of shortest walks. In a variant wrong responses earn what right ones of their
    length do beyond their correctness, down to −1.
    """
    task = few_prompts(language.make("path", size=3), NUM_PROMPTS)
    problems = task.problems()
    shortest = np.sum(np.asarray(jax.vmap(task.solve)(problems)) != task.pad_token, axis=-1)
    history = best_length()

    def number(batch: Responses) -> Int[Array, "prompt group"]:
        """Which of the training prompts each is."""
        return jnp.argmax(jnp.all(batch.prompt[..., None, :] == problems.prompt, axis=-1), axis=-1)

    def side(numbers: Numbers) -> Side:
        def reward(batch: Responses) -> Float[Array, "prompt group"]:
            known = batch.memory.history[number(batch)]
            known = jnp.where(numbers["budget"] > 0, numbers["budget"], known)
            length = batch.length.astype(known.dtype)
            shaped = history_length(length, known, batch.correct)
            unbounded = history_length(length, known, jnp.ones_like(batch.correct), floor=-1.0)
            of_wrong = jnp.where(numbers["unbounded"] > 0, unbounded, shaped)
            return batch.reward + numbers["coefficient"] * jnp.where(batch.correct, shaped, of_wrong)

        def remember(batch: Responses) -> Responses:
            # The rewards of a batch are by what was known before it.
            length = batch.length.astype(jnp.float32)
            _, memory = history.update(batch.memory, number(batch), length, batch.correct)
            return batch._replace(memory=memory)

        unknown = jnp.full(NUM_PROMPTS, jnp.inf)
        method = Method(reward=reward, remember=remember, memory=lambda num_prompts, group_size: history.init(unknown))
        return Side(method)

    verbose = with_detours(language.make("path", size=3))
    laboratory = Laboratory(CONFIG, size, task=task, demonstrated=verbose, measures=lengths(task))
    trainer = laboratory.trainer(side)
    tuned = lambda **numbers: trainer.tuned({"coefficient": 1.0, "budget": 0.0, "unbounded": 0.0} | numbers)
    budget = float(shortest.mean())
    runs = {
        "HAPO": tuned(),
        "GRPO": tuned(coefficient=0.0),
        "fixed budget": tuned(budget=budget),
        "wrong ones rewarded": tuned(unbounded=1.0),
    }
    by_history, grpo, fixed, unbounded = runs.values()
    findings = [
        Finding(
            "right responses become shorter than without",
            "tokens of right responses at the end; against GRPO",
            by_history.last("right_length"),
            grpo.last("right_length"),
            "lower",
            source="paper",
        ),
        Finding(
            "they come within half a token of the shortest",
            "tokens of right responses beyond those of a shortest walk at the end; against 0.5",
            by_history.last("excess"),
            0.5,
            "lower",
            source="prediction",
        ),
        no_less_accurate(by_history, grpo, "GRPO"),
        Finding(
            "it costs less accuracy than one budget for all prompts",
            "accuracy at the end; against the same penalty relative to a fixed budget",
            by_history.last("accuracy"),
            fixed.last("accuracy"),
            source="paper",
        ),
        Finding(
            "wrong responses stay longer than where short ones are rewarded",
            "tokens of wrong responses at the end; against the variant",
            by_history.last("wrong_length"),
            unbounded.last("wrong_length"),
            source="prediction",
        ),
    ]
    settings = settings_of(runs) | {"budget": f"{budget:.1f} tokens"}
    panels = {"accuracy": "accuracy", "right_length": "length of right responses", "wrong_length": "of wrong ones"}
    return findings, settings, curves_of(runs, panels)


CLAIMS = {
    "hapo": Claim(
        "HAPO",
        "(Huang et al., 2025, arXiv 2505.11225)",
        ("rlx.rewards.history_length", "rlx.controllers.best_length"),
        hapo,
        SIZE,
        QUICK,
        "tokens",
        data="path@size=3, 64 training prompts",
    ),
}
