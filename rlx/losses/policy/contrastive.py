"""Policy gradients from contrasts between scored responses, valid for data of any policy."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean
from rlx.types import Scalar, check_choice, elements, like


def copg(
    log_prob: Float[Array, "..."],
    reference_log_prob: Float[Array, "..."],
    reward: Float[Array, "..."],
    *,
    beta: Scalar = 0.1,
    axis: int = -1,
    form: str = "variance",
    where: Bool[Array, "..."] | None = None,
) -> Float[Array, "..."]:
    """Contrastive policy gradient: makes the regularized rewards of a group equal, whoever sampled it.

    With R_i = r_i − β · (log π(y_i) − log π_ref(y_i)) and k responses in the group, the form "variance" is
    L = Var(R) / (2β) = Σ_{i<j} (R_i − R_j)² / (2β·k·(k − 1)), and "surrogate" is L_i = −sg(A_i) · log π(y_i) with
    A_i = R_i − mean_{j≠i} R_j, whose mean over the group has the same gradient. The only optimum is π ∝ π_ref ·
    exp(r / β), without importance weights. For small β take the surrogate: the variance form keeps a small
    gradient but grows like 1/β. On-policy the surrogate is leave-one-out REINFORCE with the KL in the reward.

    Args:
        log_prob: log-probability of each response, summed over its tokens [*batch, group]; carries the gradient.
        reference_log_prob: the same under the reference policy; a constant.
        reward: reward of each response [*batch, group]; a constant.
        beta: strength β of the KL regularization, positive.
        axis: static; the group axis.
        form: static; "variance" or "surrogate".
        where: boolean mask, True where a response counts.

    Returns:
        Loss of each group [*batch] (variance) or of each response [*batch, group] (surrogate), 0 where masked
        and for groups of one.

    Raises:
        ValueError: for an unknown `form`, a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import policy
        >>> reference, reward = jnp.array([-3.0, -2.0, -4.0]), jnp.array([1.0, 0.0, 0.5])
        >>> print(np.asarray(policy.copg(reference, reference, reward, beta=0.5)).round(3))
        0.25
        >>> print(np.asarray(policy.copg(reference + reward / 0.5, reference, reward, beta=0.5)).round(3))
        0.0

    References:
        Flet-Berliac et al., 2024, "Contrastive Policy Gradient: Aligning LLMs on Sequence-Level Scores in a
        Supervised-Friendly Fashion", arXiv:2406.19185.
        Cohere, 2025, "Command A: An Enterprise-Ready Large Language Model", arXiv:2504.00698 (groups of more
        than two, in another scale).
    """
    check_choice("form", form, ("variance", "surrogate"))
    log_prob, reference_log_prob, reward = jnp.broadcast_arrays(
        *elements(log_prob=log_prob, reference_log_prob=reference_log_prob, reward=reward, where=where)
    )
    (beta,) = like(log_prob, beta)
    mask = jnp.broadcast_to(True if where is None else where, reward.shape)
    count = jnp.sum(mask, axis, keepdims=True).astype(reward.dtype)
    regularized = lax.stop_gradient(reward) - beta * (log_prob - lax.stop_gradient(reference_log_prob))
    average = jnp.expand_dims(mean(regularized, where=where, axis=axis), axis)
    centered = jnp.where(mask, regularized - average, 0)
    freedom = jnp.maximum(count - 1, 1)
    if form == "variance":
        return jnp.sum(jnp.square(centered) / freedom, axis) / (2 * beta)
    return -lax.stop_gradient(centered * count / freedom) * log_prob
