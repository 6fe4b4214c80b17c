"""Whose success counts how much: methods that change the advantage, of responses, groups, steps or tokens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rlx.recipes.language_methods.table import Entry, chosen

if TYPE_CHECKING:
    from rlx.algorithms.responses import Responses


def bnpo(*, clip_low: float = 0.2, clip_high: float = 0.28) -> Any:
    """Rewards normalized by a Beta density that is fitted to the success rates of the batch; sums of tokens."""
    import jax.numpy as jnp

    from rlx import reduce
    from rlx.algorithms.grpo import Method
    from rlx.losses.policy import clipped_surrogate
    from rlx.returns import beta_normalized

    def advantage(batch: Responses):
        return jnp.broadcast_to(beta_normalized(batch.reward)[..., None], batch.token.shape)

    def loss(batch: Responses):
        per_token = clipped_surrogate(
            batch.log_prob,
            batch.behavior_log_prob,
            batch.advantage,
            clip_low=clip_low,
            clip_high=clip_high,
            where=batch.where,
        )
        return reduce.sequence_mean(per_token, where=batch.where, inner="sum")

    return Method(advantage=advantage, loss=loss)


def ace(*, coefficient: float = 1.0, normalize_length: bool = False) -> Any:
    """Wrong responses weigh more the surer the policy has become of them.

    How sure it is, is the sum over the tokens of its log-ratio to the policy of the start, or with `normalize_length`
    their mean, which does not grow with the length.
    """
    import jax.numpy as jnp

    from rlx.algorithms.grpo import Method
    from rlx.returns import confidence_penalty, group_relative

    def advantage(batch: Responses):
        penalized = confidence_penalty(
            group_relative(batch.reward),
            batch.log_prob,
            batch.reference_log_prob,
            coefficient=coefficient,
            normalize_length=normalize_length,
            where=batch.where,
        )
        return jnp.broadcast_to(penalized[..., None], batch.token.shape)

    return Method(uses=frozenset({"reference"}), advantage=advantage)


def copo(*, sharpness: float = 20.0, midpoint: float = 1.5) -> Any:
    """Groups whose answers agree are compared with other groups, as they have nothing to compare within."""
    import jax.numpy as jnp

    from rlx import reduce
    from rlx.algorithms.grpo import Method
    from rlx.losses.policy import clipped_surrogate
    from rlx.returns import global_local

    def remember(batch: Responses) -> Responses:
        local, between, weight = global_local(batch.reward, batch.answer, sharpness=sharpness, midpoint=midpoint)
        # Groups are compared over the whole batch, before it is cut.
        return batch._replace(extras=(local[..., None], between[:, None, None], weight[:, None, None]))

    def loss(batch: Responses):
        local, between, weight = batch.extras
        surrogate = lambda advantage: clipped_surrogate(
            batch.log_prob, batch.behavior_log_prob, jnp.broadcast_to(advantage, batch.token.shape), where=batch.where
        )
        blended = weight * surrogate(local) + (1 - weight) * surrogate(between)
        return reduce.token_mean(blended, where=batch.where)

    return Method(remember=remember, loss=loss)


def r3l(*, factor: float = 3.0, retry: bool = True) -> Any:
    """Half of a group retries what the other half did wrong, and positive advantages are amplified.

    Each wrong response is taken up again from its first error, with credit to the tokens after that point in both. The
    verifier's first error stands for the reflection that names it in the paper, and no guidance is written: the paper
    also imitates reflections, and retries that had the guidance before them.
    """
    import jax.numpy as jnp

    from rlx import reduce
    from rlx.algorithms.grpo import Method
    from rlx.losses.policy import policy_gradient
    from rlx.returns import amplified

    def advantage(batch: Responses):
        # A response that was right has no second one: the place of that is empty.
        of_response = amplified(batch.reward, factor=factor, where=batch.length > 0)
        return jnp.broadcast_to(of_response[..., None], batch.token.shape)

    def loss(batch: Responses):
        per_token = policy_gradient(batch.log_prob, batch.advantage, scale=0.5, where=batch.where)
        return reduce.token_mean(per_token, where=batch.where)

    return Method(advantage=advantage, loss=loss, retries=retry)


def apo(*, base: float = 1.00001, rate: float = math.e, beta: float = 1e-3) -> Any:
    """Wrong responses longer than the right ones of their group weigh more; a KL penalty weak on hard prompts."""
    import jax.numpy as jnp

    from rlx import reduce
    from rlx.algorithms.grpo import Method, clipped_loss
    from rlx.regularizers.divergence import kl_estimate
    from rlx.returns import group_relative
    from rlx.weighting import difficulty_kl_weight, excess_length_weight

    def advantage(batch: Responses):
        weight = excess_length_weight(batch.length, batch.correct, base=base)
        return jnp.broadcast_to((weight * group_relative(batch.reward))[..., None], batch.token.shape)

    def loss(batch: Responses):
        success_rate = jnp.mean(batch.correct * 1.0, axis=-1, keepdims=True)[..., None]
        weight = difficulty_kl_weight(batch.advantage, success_rate, rate=rate)
        divergence = kl_estimate(batch.log_prob, batch.reference_log_prob, kind="k3", where=batch.where)
        return clipped_loss(batch) + beta * reduce.sequence_mean(weight * divergence, where=batch.where)

    return Method(uses=frozenset({"reference"}), advantage=advantage, loss=loss)


def oreal(
    *,
    negative_coefficient: float = 0.5,
    credit_threshold: float = 0.5,
    beta: float = 0.01,
    one_of_each: bool = True,
    freeze: int = 10,
    reward_model_rate: float = 4.0,
) -> Any:
    """Clones right responses and reshapes the policy gradient on wrong ones, where a reward model sees it decided.

    The reward model of tokens is one like the policy, with an optimizer of its own, and learns to tell from the mean of
    its scores whether a response is right; the policy waits for it for `freeze` updates. With `one_of_each` a right and
    a wrong response to each prompt are learned from, if there are both. Hard prompts are not repeated, as they are in
    the reference code.
    """
    import jax.numpy as jnp
    import optax

    from rlx import reduce
    from rlx.algorithms.grpo import Method, group_advantage
    from rlx.losses.policy import outcome_contrast
    from rlx.regularizers.divergence import kl_estimate
    from rlx.weighting import cumulative_credit, mixed_outcome

    def advantage(batch: Responses):
        return group_advantage(batch, center="leave_one_out", scale="none")

    def remember(batch: Responses) -> Responses:
        if not one_of_each:
            return batch
        first = lambda kind: kind & (jnp.cumsum(kind, axis=-1) == 1)
        mixed = mixed_outcome(batch.correct * 1.0)[:, None]
        kept = mixed & (first(batch.correct) | first(~batch.correct))
        return batch._replace(where=batch.where & kept[..., None])

    def of_policy(batch: Responses):
        correct = jnp.broadcast_to(batch.correct[..., None], batch.token.shape)
        positive, negative = cumulative_credit(batch.token_reward, threshold=credit_threshold, where=batch.where)
        per_token = outcome_contrast(
            batch.log_prob,
            batch.advantage,
            correct.astype(batch.log_prob.dtype),
            positive_weight=positive,
            negative_weight=negative,
            negative_coefficient=negative_coefficient,
            where=batch.where,
        )
        of = lambda where: reduce.token_mean(per_token, where=batch.where & where)
        drift = kl_estimate(batch.log_prob, batch.reference_log_prob, kind="k3", where=batch.where)
        return of(correct) + of(~correct) + beta * reduce.token_mean(drift, where=batch.where)

    def of_reward_model(batch: Responses):
        verdict = reduce.mean(batch.token_reward, where=batch.where, axis=-1)
        error = optax.sigmoid_binary_cross_entropy(verdict, batch.correct.astype(verdict.dtype))
        return reduce.mean(error, where=batch.length > 0)

    def loss(batch: Responses):
        return jnp.where(batch.update >= freeze, of_policy(batch), 0.0) + of_reward_model(batch)

    return Method(
        uses=frozenset({"reference", "token_reward"}),
        advantage=advantage,
        remember=remember,
        loss=loss,
        critic_rate=reward_model_rate,
    )


def empg(*, scale: float = 1.0, future_scale: float = 1.0, bonus: float = 0.05, num_steps: int = 8) -> Any:
    """Steps of reasoning that the policy was sure of count more, and those that lead to such steps."""
    import jax
    import jax.numpy as jnp

    from rlx import reduce
    from rlx.algorithms.grpo import Method
    from rlx.returns import entropy_modulated, group_relative

    def advantage(batch: Responses):
        in_step = batch.where & (batch.step >= 0)
        of_step = jax.nn.one_hot(jnp.clip(batch.step, 0, num_steps - 1), num_steps, dtype=bool) & in_step[..., None]
        entropy = jax.vmap(lambda where: reduce.mean(batch.behavior_entropy, where=where, axis=-1), -1, -1)(of_step)
        plain = group_relative(batch.reward)
        modulated = entropy_modulated(
            plain, entropy, scale=scale, future_scale=future_scale, bonus=bonus, where=jnp.any(of_step, axis=-2)
        )
        of_token = jnp.sum(jnp.where(of_step, modulated[..., None, :], 0.0), axis=-1)
        return jnp.where(in_step, of_token, plain[..., None])

    return Method(advantage=advantage)


def lite_ppo(*, clip: float = 0.2) -> Any:
    """Rewards less the mean of the group over the deviation of the batch, clipped ratios, averages of tokens."""
    from functools import partial

    from rlx.algorithms.grpo import Method, group_advantage, token_loss

    loss = partial(token_loss, clip_low=clip, clip_high=clip)
    return Method(advantage=partial(group_advantage, scale="batch_std"), loss=loss)


METHODS = {
    "bnpo": Entry(
        bnpo,
        "advantage, clip, aggregation",
        "Xiao et al., 2025, arXiv:2506.02864",
        chosen(code="clip_low clip_high"),
        "changyi7231/BNPO",
    ),
    "ace": Entry(
        ace,
        "advantage",
        "Xu et al., 2026, arXiv:2602.21420",
        chosen(paper="normalize_length", ours="coefficient"),
    ),
    "copo": Entry(copo, "advantage", "Han et al., 2025, arXiv:2508.04138", chosen(paper="sharpness midpoint")),
    "empg": Entry(
        empg,
        "advantage",
        "Wang et al., 2025, arXiv:2509.09265",
        chosen(code="scale future_scale bonus", ours="num_steps"),
        "WillDreamer/ARLArena",
    ),
    "lite_ppo": Entry(
        lite_ppo,
        "advantage, aggregation",
        "Liu et al., 2025, arXiv:2508.08221",
        chosen(code="clip"),
        "alibaba/ROLL",
    ),
    "r3l": Entry(
        r3l,
        "responses, advantage, loss",
        "Shi et al., 2026, arXiv:2601.03715",
        chosen(paper="retry", code="factor"),
        "shiweijiezero/R3L",
    ),
    "apo": Entry(
        apo,
        "weight, regularizer",
        "Hong et al., 2025, arXiv:2506.21655",
        chosen(code="base rate beta"),
        "Indolent-Kawhi/View-R1",
    ),
    "oreal": Entry(
        oreal,
        "reward model, advantage, loss",
        "Lyu et al., 2025, arXiv:2502.06781",
        chosen(code="negative_coefficient credit_threshold beta one_of_each freeze reward_model_rate"),
        "InternLM/OREAL",
    ),
}
