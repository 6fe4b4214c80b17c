"""Groups of responses to prompts, and what is measured of them."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from rlx import reduce
from rlx.regularizers.divergence import kl_estimate


class Responses(NamedTuple):
    """Groups of responses to prompts, and what slots of a method may use of them.

    Arrays along tokens are `[prompt, group, time]`, those of sequences `[prompt, group]`. Log-probabilities, entropies
    and logits are those of policies at the temperature that a response was sampled at. In `Method.loss` `log_prob`,
    `entropy`, `logits`, `value` and `token_reward` carry the gradient; all else is constant.

    Attributes:
        prompt: tokens of the prompts, padded on the left `[prompt, group, prompt_time]`.
        prompt_where: True at their real tokens.
        token: tokens of the responses; a multi-turn task's replies are among them.
        present: True at real tokens of the response, replies included.
        where: True at the policy's own tokens, the ones that are learned from.
        reward: of the sequence.
        correct: whether the verifier accepts it.
        answer: a number for the final answer, equal for equal answers; −1 where there is none.
        first_error: index of the first token of the first wrong step; the length of `time` where none is wrong.
        step: number of the step of reasoning that a token belongs to; −1 outside of any.
        advantage: of tokens.
        log_prob: of the tokens under the policy in training.
        behavior_log_prob: of the tokens under the policy that sampled.
        reference_log_prob: of the tokens under the reference; None unless the method uses it.
        entropy: of the policy in training at each token.
        behavior_entropy: of the policy that sampled.
        logits: of the policy in training; None unless the method uses distributions, as are the two below.
        behavior_logits: of the policy that sampled.
        reference_logits: of the reference.
        value: of the critic in training, before each token; None unless the method uses values.
        behavior_value: of the critic before this update.
        token_reward: of the reward model in training: logit of a right response, after each token; None unless the
            method uses it.
        key: of this gradient step.
        update: updates done before.
        memory: the method's state.
        extras: what `Method.remember` notes for the loss; arrays with the leading axis `[prompt]`.
        solution: tokens of the task's own solution `[prompt, time]`; None unless the method uses it, as are these:
        solution_present: True at its real tokens.
        solution_where: True at those of them that a policy would have written.
        solution_log_prob: of them under the policy that sampled.
        solution_correct: whether the verifier accepts the solution.
        solution_reward: of the solution.
        temperature: that each response was sampled at; None stands for 1.
    """

    prompt: Int[Array, "prompt group prompt_time"]
    prompt_where: Bool[Array, "prompt group prompt_time"]
    token: Int[Array, "prompt group time"]
    present: Bool[Array, "prompt group time"]
    where: Bool[Array, "prompt group time"]
    reward: Float[Array, "prompt group"]
    correct: Bool[Array, "prompt group"]
    answer: Int[Array, "prompt group"]
    first_error: Int[Array, "prompt group"]
    step: Int[Array, "prompt group time"]
    advantage: Float[Array, "prompt group time"] | None = None
    log_prob: Float[Array, "prompt group time"] | None = None
    behavior_log_prob: Float[Array, "prompt group time"] | None = None
    reference_log_prob: Float[Array, "prompt group time"] | None = None
    entropy: Float[Array, "prompt group time"] | None = None
    behavior_entropy: Float[Array, "prompt group time"] | None = None
    logits: Float[Array, "prompt group time vocab"] | None = None
    behavior_logits: Float[Array, "prompt group time vocab"] | None = None
    reference_logits: Float[Array, "prompt group time vocab"] | None = None
    value: Float[Array, "prompt group time"] | None = None
    behavior_value: Float[Array, "prompt group time"] | None = None
    token_reward: Float[Array, "prompt group time"] | None = None
    key: PRNGKeyArray | None = None
    update: Int[Array, ""] | None = None
    memory: PyTree = ()
    extras: PyTree = ()
    solution: Int[Array, "prompt time"] | None = None
    solution_present: Bool[Array, "prompt time"] | None = None
    solution_where: Bool[Array, "prompt time"] | None = None
    solution_log_prob: Float[Array, "prompt time"] | None = None
    solution_correct: Bool[Array, " prompt"] | None = None
    solution_reward: Float[Array, " prompt"] | None = None
    temperature: Float[Array, "prompt group"] | None = None

    @property
    def length(self) -> Int[Array, "prompt group"]:
        """Number of the policy's own tokens."""
        return jnp.sum(self.where, axis=-1)

    @property
    def degenerate(self) -> Bool[Array, " prompt"]:
        """Whether all rewards of a group are equal, so that nothing can be learned from comparing them."""
        return jnp.max(self.reward, -1) == jnp.min(self.reward, -1)


def step_diagnostics(batch: Responses) -> dict[str, Float[Array, ""]]:
    """Of a gradient step: `entropy`, and how far the policy is from the one that sampled.

    Returns:
        `entropy` (nats per token), `behavior_kl` (unbiased estimate per token), `log_ratio_max` (largest absolute
        value), `log_ratio_q01` and `log_ratio_q99` (quantiles over the tokens), `effective_sample_size` (of the
        tokens' ratios, as a share of the tokens), and `ratio_above` and
        `ratio_below`: shares of the tokens of positive advantage whose ratio exceeds 1.2, and of those of negative
        advantage whose ratio is below 0.8, which a clipped surrogate would no longer follow.
    """
    log_ratio = jnp.where(batch.where, batch.log_prob - batch.behavior_log_prob, 0.0)
    ratio = jnp.exp(log_ratio)
    mean = lambda x, where=batch.where: reduce.token_mean(x * 1.0, where=where)
    positive, negative = (batch.where & sign for sign in (batch.advantage > 0, batch.advantage < 0))
    quantiles = jnp.nanquantile(jnp.where(batch.where, log_ratio, jnp.nan), jnp.array([0.01, 0.99]))
    low, high = jnp.where(jnp.any(batch.where), quantiles, 0.0)
    metrics = {
        "entropy": mean(batch.entropy),
        "behavior_kl": mean(kl_estimate(batch.behavior_log_prob, batch.log_prob, where=batch.where)),
        "log_ratio_max": jnp.max(jnp.abs(log_ratio)),
        "log_ratio_q01": low,
        "log_ratio_q99": high,
        "effective_sample_size": mean(ratio) ** 2 / jnp.maximum(mean(ratio**2), 1e-30),
        "ratio_above": mean(ratio > 1.2, positive),
        "ratio_below": mean(ratio < 0.8, negative),
    }
    if batch.reference_log_prob is not None:
        metrics["reference_kl"] = mean(kl_estimate(batch.log_prob, batch.reference_log_prob, where=batch.where))
    return metrics


def batch_diagnostics(batch: Responses) -> dict[str, Float[Array, ""]]:
    """Of a sampled batch.

    Returns:
        `reward` and `accuracy` of the samples, `degenerate` (share of groups whose rewards are all equal),
        `response_length` (own tokens), `covariance` of the tokens' log-probabilities and advantages, whose sign is
        that of the coming change of entropy, reversed, and `entropy_quarter_1` to `_4` of the sampling policy, in
        the first to the last quarter of each response.
    """
    log_prob, advantage = batch.behavior_log_prob, batch.advantage
    mean = lambda x, where=batch.where: reduce.token_mean(x, where=where)
    quarter = 4 * (jnp.cumsum(batch.where, axis=-1) - 1) // jnp.maximum(batch.length, 1)[..., None]
    return {
        "reward": jnp.mean(batch.reward),
        "accuracy": jnp.mean(batch.correct * 1.0),
        "degenerate": jnp.mean(batch.degenerate * 1.0),
        "response_length": jnp.mean(batch.length * 1.0),
        "covariance": mean(log_prob * advantage) - mean(log_prob) * mean(advantage),
    } | {f"entropy_quarter_{i + 1}": mean(batch.behavior_entropy, batch.where & (quarter == i)) for i in range(4)}
