"""Losses that contrast the correct with the wrong rollouts of a group, from token log-probabilities."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean
from rlx.types import Scalar, check_choice, elements, like
from rlx.weighting.ratio import importance_log_ratio


def discriminative(
    log_prob: Float[Array, "*batch"],
    behavior_log_prob: Float[Array, "*batch"],
    reward: Float[Array, "..."],
    *,
    score: str = "log_likelihood",
    temperature: Scalar = 10.0,
    where: Bool[Array, "*#batch"] | None = None,
    token_axis: int = -1,
    group_axis: int = -2,
) -> Float[Array, "..."]:
    """DisCO's discriminative loss of a question: correct rollouts score above the hardest wrong ones.

    L = −mean_{R>0} s + τ · log mean_{R≤0} exp(s/τ), with τ the temperature and s_i the mean over the tokens of
    log π (score "log_likelihood") or of π/π_b ("ratio"); for τ = inf the second term is mean_{R≤0} s (DisCO-b). A
    question of one class has loss 0, and counts in the mean over questions. Every question weighs the same, however
    hard. Used without clipping, with `rlx.regularizers.divergence.squared_hinge` on the KL of the minibatch.

    Args:
        log_prob: log-probabilities of the tokens [*question, group, token]; carries the gradient.
        behavior_log_prob: the same under the policy that generated the data; a constant.
        reward: outcome of each rollout, above 0 where correct [*question, group]; a constant.
        score: static; "log_likelihood" or "ratio", the latter with log-ratios bounded by ±20.
        temperature: τ; low values weigh the wrong rollouts of highest score. The paper uses 10, and 1 with ratios.
        where: boolean mask, True where a token counts; a rollout without tokens is no member.
        token_axis: static; the token axis of `log_prob`.
        group_axis: static; the group axis of `log_prob`.

    Returns:
        Loss per question [*question].

    Raises:
        ValueError: for an unknown `score`, a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import policy
        >>> log_prob, reward = jnp.array([[-1.0, -1.0], [-2.0, -2.0], [-0.5, -0.5]]), jnp.array([1.0, 0.0, 0.0])
        >>> print(np.asarray(policy.discriminative(log_prob, log_prob, reward, temperature=jnp.inf)).round(3))
        -0.25
        >>> print(np.asarray(policy.discriminative(log_prob, log_prob, reward, temperature=0.1)).round(3))
        0.431

    References:
        Li et al., 2025, "DisCO: Reinforcing Large Reasoning Models with Discriminative Constrained Optimization",
        arXiv:2505.12366.
    """
    check_choice("score", score, ("log_likelihood", "ratio"))
    log_prob, behavior_log_prob = elements(log_prob=log_prob, behavior_log_prob=behavior_log_prob, where=where)
    if score == "ratio":
        per_token = jnp.exp(importance_log_ratio(log_prob, behavior_log_prob))
    else:
        per_token = log_prob
    scores = mean(per_token, where=where, axis=token_axis)
    token, group = token_axis % log_prob.ndim, group_axis % log_prob.ndim
    axis = group - 1 if token < group else group
    scores, reward, member = _rollouts(scores, reward, where, log_prob.shape, token)
    correct, wrong = member & (reward > 0), member & (reward <= 0)
    mixed = correct.any(axis) & wrong.any(axis)
    contrast = _log_mean_exp(scores, wrong, temperature, axis) - mean(scores, where=correct, axis=axis)
    return jnp.where(mixed, contrast, 0)


def implicit_actor_critic(
    log_prob: Float[Array, "*batch"],
    behavior_log_prob: Float[Array, "*batch"],
    reward: Float[Array, "..."],
    *,
    temperature: Scalar = 1.0,
    baseline: str = "leave_one_out",
    class_balance: bool = True,
    where: Bool[Array, "*#batch"] | None = None,
    token_axis: int = -1,
) -> Float[Array, "..."]:
    """PACS, supervised policy optimization: the policy's own log-ratio predicts whether a rollout is correct.

    L_i = w_i · (softplus(ψ_i) − R_i·ψ_i), the cross-entropy of σ(ψ_i) against the outcome. ψ_i = z_i − baseline,
    z_i = temperature · Σ_t (log π − log π_b). The baseline is the mean z of the others ("leave_one_out"), 0
    ("none"), or ψ is standardized, (z − mean z) / (std z + 1e-6) ("group"); it carries the gradient too. With
    class_balance w_i = G / (2·G_c) of a group of G rollouts, of which G_c have the outcome of i, and 1 where all
    outcomes are alike. The gradient in ψ is w·(σ(ψ) − R): an advantage below 1 whose critic is the policy.

    Args:
        log_prob: log-probabilities of the tokens [*batch, group, token]; carries the gradient.
        behavior_log_prob: the same under the policy that generated the data; a constant.
        reward: outcome of each rollout in {0, 1} [*batch, group], or in [0, 1] without class_balance; a constant.
        temperature: factor of the log-ratio, which is a sum: long sequences saturate σ.
        baseline: static; "leave_one_out", "group" or "none".
        class_balance: static; whether both outcomes of a group have the same total weight.
        where: boolean mask, True where a token counts; a rollout without tokens is no member.
        token_axis: static; the token axis of `log_prob`. Without it, the group axis is the last.

    Returns:
        Loss per rollout [*batch, group], 0 for one without tokens. A group must not be split.

    Raises:
        ValueError: for an unknown `baseline`, a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import policy
        >>> behavior_log_prob, reward = jnp.array([[-1.0, -2.0], [-1.0, -2.0]]), jnp.array([1.0, 0.0])
        >>> log_prob = behavior_log_prob + jnp.array([[0.5], [-0.5]])
        >>> print(np.asarray(policy.implicit_actor_critic(behavior_log_prob, behavior_log_prob, reward)).round(3))
        [0.693 0.693]
        >>> print(np.asarray(policy.implicit_actor_critic(log_prob, behavior_log_prob, reward)).round(3))
        [0.127 0.127]

    References:
        Li et al., 2025, "Implicit Actor Critic Coupling via a Supervised Learning Framework for RLVR",
        arXiv:2509.02522 (PACS).
    """
    check_choice("baseline", baseline, ("leave_one_out", "group", "none"))
    log_prob, behavior_log_prob = elements(log_prob=log_prob, behavior_log_prob=behavior_log_prob, where=where)
    log_ratio = jnp.sum(log_prob - lax.stop_gradient(behavior_log_prob), token_axis)
    log_ratio, reward, member = _rollouts(log_ratio, reward, where, log_prob.shape, token_axis % log_prob.ndim)
    (temperature,) = like(log_ratio, temperature)
    score = _without_baseline(temperature * log_ratio, member, baseline)
    loss = jax.nn.softplus(score) - reward * score
    if class_balance:
        loss = loss * _class_weight(reward > 0, member).astype(loss.dtype)
    return jnp.where(member, loss, 0)


def _rollouts(
    score: Array, reward: Array, where: Array | None, shape: tuple[int, ...], token_axis: int
) -> tuple[Array, Array, Array]:
    """Score and constant reward of each rollout, and whether it has a token."""
    score, reward = elements(log_prob=score, reward=reward)
    member = jnp.broadcast_to(True if where is None else where, shape).any(token_axis)
    return score, lax.stop_gradient(jnp.where(member, reward, 0)), member


def _log_mean_exp(x: Array, where: Array, temperature: Scalar, axis: int) -> Array:
    """τ · log mean exp(x/τ) over the elements that count, or their mean for τ = inf."""
    (temperature,) = like(x, temperature)
    unbounded = jnp.isinf(temperature)
    finite = jnp.where(unbounded, 1, temperature)
    highest = lax.stop_gradient(jnp.max(jnp.where(where, x, -jnp.inf), axis, keepdims=True))
    highest = jnp.where(where.any(axis, keepdims=True), highest, 0)
    below = jnp.where(where, x - highest, 0)
    # Through expm1 and log1p a mean of small exponents keeps its digits at high temperatures.
    soft = finite * jnp.log1p(mean(jnp.expm1(below / finite), where=where, axis=axis))
    return jnp.squeeze(highest, axis) + jnp.where(unbounded, mean(below, where=where, axis=axis), soft)


def _without_baseline(score: Array, member: Array, baseline: str) -> Array:
    """Scores relative to their group, along the last axis. A rollout without others is left as it is by
    "leave_one_out".
    """
    if baseline == "none":
        return score
    count = jnp.sum(member, -1, keepdims=True).astype(score.dtype)
    total = jnp.sum(jnp.where(member, score, 0), -1, keepdims=True)
    if baseline == "leave_one_out":
        return score - (total - score) / jnp.maximum(count - 1, 1)
    centered = jnp.where(member, score - total / jnp.maximum(count, 1), 0)
    variance = jnp.sum(jnp.square(centered), -1, keepdims=True) / jnp.maximum(count - 1, 1)
    # The root has no finite slope at 0, where the policy still is the behavior policy.
    positive = variance > 0
    return centered / (jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1)), 0) + 1e-6)


def _class_weight(success: Array, member: Array) -> Array:
    """G / (2·G_c) along the last axis for groups with both outcomes, and 1 for the others."""
    correct = jnp.sum(member & success, -1, keepdims=True)
    wrong = jnp.sum(member & ~success, -1, keepdims=True)
    mixed = (correct > 0) & (wrong > 0)
    return jnp.where(mixed, (correct + wrong) / (2 * jnp.maximum(jnp.where(success, correct, wrong), 1)), 1)
