"""Preference losses that know which tokens of a response matter; one value per pair."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.losses.preference.pairwise import dpo
from rlx.types import Scalar, elements, floating, like


def rrpo(
    chosen_log_prob: Float[Array, "..."],
    rejected_log_prob: Float[Array, "..."],
    reference_chosen_log_prob: Float[Array, "..."],
    reference_rejected_log_prob: Float[Array, "..."],
    chosen_kl: Float[Array, "..."],
    *,
    chosen_span: Bool[Array, "..."],
    rejected_span: Bool[Array, "..."],
    where: Bool[Array, "..."],
    beta: Scalar = 0.1,
    alpha: Scalar = 0.01,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Refined regularized preference optimization: rewards only where a pair differs, and a KL per token.

    With ρ_t = log π − log π_ref per token and u = Σ_{t∈span_w} ρ_t − Σ_{t∈span_l} ρ_t,
    L = −log σ(β·u) + α·Σ_{t∈where} D_t, D_t = KL(π_ref ‖ π) over the whole vocabulary at token t of the chosen
    response, such as `kl_categorical(reference_logits, logits)`. Sums, not means.

    Args:
        chosen_log_prob: log π of the tokens of the chosen response [*batch, token]; carries the gradient.
        rejected_log_prob: log π of the tokens of the rejected response [*batch, other token]; carries the
            gradient.
        reference_chosen_log_prob: the first under the reference policy; a constant.
        reference_rejected_log_prob: the second under the reference policy; a constant.
        chosen_kl: D_t [*batch, token], reference first; carries the gradient.
        chosen_span: boolean, True at the tokens of the chosen response by which it differs.
        rejected_span: the same of the rejected response.
        where: boolean mask, True at the completion tokens of the chosen response, its span among them.
        beta: strength β of the divergence.
        alpha: weight α of the divergence per token.
        axis: static; the token axis.

    Returns:
        Loss per pair [*batch].

    Raises:
        ValueError: for a non-floating array, a non-boolean mask, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> log_prob, reference, kl = jnp.array([-1.0, -1.0, -1.0]), jnp.array([-3.0, -1.5, -1.0]), jnp.full(3, 0.5)
        >>> span, where = jnp.array([True, False, False]), jnp.ones(3, bool)
        >>> loss = preference.rrpo(
        ...     log_prob, reference, reference, reference, kl, chosen_span=span, rejected_span=span, where=where
        ... )
        >>> print(np.asarray(loss).round(3))
        0.613

    References:
        Sarkar and Etemad, 2025, "Self-alignment of Large Video Language Models with Refined Regularized
        Preference Optimization", arXiv:2504.12083.
    """
    (kl,) = elements(chosen_kl=chosen_kl, where=where)
    chosen, reference_chosen = elements(
        chosen_log_prob=chosen_log_prob, reference_chosen_log_prob=reference_chosen_log_prob, where=where
    )
    chosen, reference_chosen = elements(
        chosen_log_prob=chosen, reference_chosen_log_prob=reference_chosen, where=chosen_span
    )
    rejected, reference_rejected = elements(
        rejected_log_prob=rejected_log_prob,
        reference_rejected_log_prob=reference_rejected_log_prob,
        where=rejected_span,
    )
    sums = (jnp.sum(x, axis) for x in (chosen, rejected, reference_chosen, reference_rejected))
    (alpha,) = like(kl, alpha)
    return dpo(*sums, beta=beta) + alpha * jnp.sum(kl, axis)


def contrastive_token_reward(
    better_log_prob: Float[Array, "*#batch"], worse_log_prob: Float[Array, "*#batch"]
) -> Float[Array, "*batch"]:
    """T-REG's reward of each token, from one model under two opposite prompts.

    r̂ = σ(log π(y_t|x_better) − log π(y_t|x_worse)) − ½, in (−½, ½); the prompts ask to rewrite the response
    for the better and for the worse.

    Args:
        better_log_prob: log π of the tokens under the prompt for the better [*batch]; a constant.
        worse_log_prob: the same tokens under the prompt for the worse; a constant.

    Returns:
        Reward per token, without gradient.

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> better, worse = jnp.log(jnp.array([0.75, 0.5, 0.25])), jnp.log(jnp.array([0.25, 0.5, 0.75]))
        >>> print(np.asarray(preference.contrastive_token_reward(better, worse)).round(3))
        [ 0.25  0.   -0.25]

    References:
        Zhou et al., 2024, "T-REG: Preference Optimization with Token-Level Reward Regularization",
        arXiv:2412.02685.
    """
    better, worse = elements(better_log_prob=better_log_prob, worse_log_prob=worse_log_prob)
    # σ(x) − ½ = ½·tanh(x/2), which does not cancel for small x.
    return lax.stop_gradient(jnp.tanh((better - worse) / 2) / 2)


def token_reward_regularizer(
    margin: Float[Array, "..."],
    chosen_log_prob: Float[Array, "..."],
    rejected_log_prob: Float[Array, "..."],
    chosen_token_reward: Float[Array, "..."],
    rejected_token_reward: Float[Array, "..."],
    *,
    chosen_where: Bool[Array, "..."],
    rejected_where: Bool[Array, "..."],
    beta: Scalar = 0.1,
    axis: int = -1,
) -> Float[Array, "..."]:
    """T-REG's pull of a policy's rewards per token towards given ones, as strong as the pair's own gradient.

    R = sg(σ(−m))·(reg(y_w) + reg(y_l)), with reg(y) = −Σ_t β·r̂_t·log π(y_t|x, y_<t) and m the margin of the
    pair's preference loss: T-REG is that loss + α·R, of `dpo` or of `simpo`.

    Args:
        margin: m, reward of the chosen response minus that of the rejected one [*batch]; a constant.
        chosen_log_prob: log π of the tokens of the chosen response [*batch, token]; carries the gradient.
        rejected_log_prob: log π of the tokens of the rejected response [*batch, other token]; carries the
            gradient.
        chosen_token_reward: r̂ of the chosen response's tokens, such as `contrastive_token_reward`; a constant.
        rejected_token_reward: r̂ of the rejected response's tokens; a constant.
        chosen_where: boolean mask, True at the completion tokens of the chosen response.
        rejected_where: the same of the rejected response.
        beta: scale β of the policy's rewards.
        axis: static; the token axis.

    Returns:
        Penalty per pair [*batch].

    Raises:
        ValueError: for a non-floating array, a non-boolean mask, or unfitting shapes.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> log_prob, reward, where = jnp.array([-1.0, -1.0]), jnp.array([0.4, -0.2]), jnp.ones(2, bool)
        >>> loss = lambda chosen: preference.token_reward_regularizer(
        ...     jnp.zeros(()), chosen, log_prob, reward, reward, chosen_where=where, rejected_where=where
        ... )
        >>> print(np.asarray(jax.grad(loss)(log_prob)).round(3))
        [-0.02  0.01]

    References:
        Zhou et al., 2024, "T-REG: Preference Optimization with Token-Level Reward Regularization",
        arXiv:2412.02685.

    Reconstruction:
        Follows a published digest of the paper; that β is inside, that tokens are summed, and that the weight
        σ(−m) carries no gradient, are read from its description of the weight as taken from the gradient of
        DPO.
    """
    (margin,) = floating(margin=margin)
    chosen, chosen_reward = elements(
        chosen_log_prob=chosen_log_prob, chosen_token_reward=chosen_token_reward, where=chosen_where
    )
    rejected, rejected_reward = elements(
        rejected_log_prob=rejected_log_prob, rejected_token_reward=rejected_token_reward, where=rejected_where
    )
    (beta,) = like(chosen, beta)
    chosen_term, rejected_term = (
        -beta * jnp.sum(lax.stop_gradient(token_reward) * log_prob, axis)
        for token_reward, log_prob in ((chosen_reward, chosen), (rejected_reward, rejected))
    )
    margin, chosen_term, rejected_term = elements(
        margin=margin, chosen_log_prob=chosen_term, rejected_log_prob=rejected_term
    )
    return lax.stop_gradient(jax.nn.sigmoid(-margin)) * (chosen_term + rejected_term)


def treg(
    chosen_log_prob: Float[Array, "..."],
    rejected_log_prob: Float[Array, "..."],
    reference_chosen_log_prob: Float[Array, "..."],
    reference_rejected_log_prob: Float[Array, "..."],
    chosen_token_reward: Float[Array, "..."],
    rejected_token_reward: Float[Array, "..."],
    *,
    chosen_where: Bool[Array, "..."],
    rejected_where: Bool[Array, "..."],
    beta: Scalar = 0.1,
    alpha: Scalar = 0.25,
    axis: int = -1,
) -> Float[Array, "..."]:
    """T-REG, token-level reward regularization: DPO whose rewards per token are drawn towards given ones.

    L = −log σ(m) + α·sg(σ(−m))·(reg(y_w) + reg(y_l)), with m = β·(Σ ρ_t of y_w − Σ ρ_t of y_l),
    ρ_t = log π − log π_ref, and reg of `token_reward_regularizer`.

    Args:
        chosen_log_prob: log π of the tokens of the chosen response [*batch, token]; carries the gradient.
        rejected_log_prob: log π of the tokens of the rejected response [*batch, other token]; carries the
            gradient.
        reference_chosen_log_prob: the first under the reference policy; a constant.
        reference_rejected_log_prob: the second under the reference policy; a constant.
        chosen_token_reward: r̂ of the chosen response's tokens, such as `contrastive_token_reward`; a constant.
        rejected_token_reward: r̂ of the rejected response's tokens; a constant.
        chosen_where: boolean mask, True at the completion tokens of the chosen response.
        rejected_where: the same of the rejected response.
        beta: strength β of the divergence.
        alpha: weight α of the regularizer; the paper takes the best of 0.1, 0.25 and 0.5.
        axis: static; the token axis.

    Returns:
        Loss per pair [*batch].

    Raises:
        ValueError: for a non-floating array, a non-boolean mask, or unfitting shapes.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> log_prob, reward, where = jnp.array([-1.0, -1.0]), jnp.array([0.4, -0.2]), jnp.ones(2, bool)
        >>> loss = lambda chosen: preference.treg(
        ...     chosen, log_prob, log_prob, log_prob, reward, reward, chosen_where=where, rejected_where=where
        ... )
        >>> print(np.asarray(jax.grad(loss)(log_prob)).round(4))
        [-0.055  -0.0475]

    References:
        Zhou et al., 2024, "T-REG: Preference Optimization with Token-Level Reward Regularization",
        arXiv:2412.02685.

    Reconstruction:
        As `token_reward_regularizer`.
    """
    chosen, reference_chosen = elements(
        chosen_log_prob=chosen_log_prob, reference_chosen_log_prob=reference_chosen_log_prob, where=chosen_where
    )
    rejected, reference_rejected = elements(
        rejected_log_prob=rejected_log_prob,
        reference_rejected_log_prob=reference_rejected_log_prob,
        where=rejected_where,
    )
    chosen_sum, rejected_sum, reference_chosen_sum, reference_rejected_sum = (
        jnp.sum(x, axis) for x in (chosen, rejected, reference_chosen, reference_rejected)
    )
    beta, alpha = like(chosen, beta, alpha)
    margin = beta * ((chosen_sum - reference_chosen_sum) - (rejected_sum - reference_rejected_sum))
    regularizer = token_reward_regularizer(
        margin,
        chosen,
        rejected,
        chosen_token_reward,
        rejected_token_reward,
        chosen_where=chosen_where,
        rejected_where=rejected_where,
        beta=beta,
        axis=axis,
    )
    return dpo(chosen_sum, rejected_sum, reference_chosen_sum, reference_rejected_sum, beta=beta) + alpha * regularizer
