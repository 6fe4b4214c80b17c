"""Nash learning from human feedback: play against a mixture of the policy and its reference."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, check_broadcast, check_choice, elements, floating, like


def nash_md_loss(
    log_prob: Float[Array, "..."],
    reference_log_prob: Float[Array, "..."],
    win_rate: Float[Array, "..."],
    *,
    beta: Scalar = 0.1,
    where: Bool[Array, "..."] | None = None,
    level: str = "sequence",
    axis: int = -1,
) -> Float[Array, "..."]:
    """Nash mirror descent (Nash-MD): policy gradient of a regularized preference game, on the policy's own response.

    With ρ_t = log π_t − log π_ref,t and the probability P that the response beats the opponent's, the level
    "sequence" is L = sg(β Σ_t ρ_t − (P − ½)) · Σ_t log π_t, and "token" is L = Σ_t sg(β ρ_t − (P − ½)) · log π_t,
    which leaves out the effect of a token on the divergence of later ones. The opponent's response comes from
    `geometric_mixture`, and has no gradient.

    Args:
        log_prob: log-probability of each token of the response [*batch, token]; carries the gradient.
        reference_log_prob: the same under the reference policy; a constant.
        win_rate: probability P that the response is preferred to the opponent's [*batch]; a constant.
        beta: strength β of the regularization to the reference.
        where: boolean mask, True where a token counts.
        level: static; "sequence" or "token".
        axis: static; the token axis.

    Returns:
        Loss of each response [*batch], of use for its gradient only; 0 where no token counts.

    Raises:
        ValueError: for an unknown `level`, a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from rlx.losses import preference
        >>> log_prob = jnp.array([[-1.0, -2.0], [-1.0, -2.0]])
        >>> loss = lambda x: preference.nash_md_loss(x, log_prob, jnp.array([0.75, 0.25])).sum()
        >>> jax.grad(loss)(log_prob).tolist()
        [[-0.25, -0.25], [0.25, 0.25]]

    References:
        Munos et al., 2023, "Nash Learning from Human Feedback", arXiv:2312.00886.
    """
    check_choice("level", level, ("sequence", "token"))
    log_prob, reference_log_prob, win_rate = floating(
        log_prob=log_prob, reference_log_prob=reference_log_prob, win_rate=win_rate
    )
    log_prob, reference_log_prob = elements(log_prob=log_prob, reference_log_prob=reference_log_prob, where=where)
    (beta,) = like(log_prob, beta)
    log_ratio = lax.stop_gradient(log_prob - reference_log_prob)
    total = jnp.sum(log_prob, axis)
    check_broadcast(win_rate=win_rate, log_prob=total)
    penalty = jnp.sum(log_ratio, axis) * total if level == "sequence" else jnp.sum(log_ratio * log_prob, axis)
    return beta * penalty - lax.stop_gradient(win_rate - 0.5) * total


def geometric_mixture(
    logits: Float[Array, "..."],
    reference_logits: Float[Array, "..."],
    *,
    mixture: Scalar = 0.5,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Normalized geometric mixture of two categorical distributions, the opponent of Nash mirror descent (Nash-MD).

    log p = log_softmax((1 − mixture) · logits + mixture · reference_logits): the policy at 0, the reference at 1.
    Token by token it is not the mixture of the sequence distributions, which is normalized once for the whole
    sequence.

    Args:
        logits: unnormalized log-probabilities of the policy [*batch, action]; −inf for an action that is not
            available.
        reference_logits: the same of the reference policy.
        mixture: weight of the reference, in [0, 1]; 0.125 in the paper's experiments.
        axis: static; the action axis.

    Returns:
        Log-probabilities [*batch, action]. Differentiable in both; stop the gradient of an opponent.

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> policy, reference = jnp.log(jnp.array([0.8, 0.2])), jnp.log(jnp.array([0.2, 0.8]))
        >>> print(np.asarray(jnp.exp(preference.geometric_mixture(policy, reference, mixture=0.5))).round(3))
        [0.5 0.5]
        >>> print(np.asarray(jnp.exp(preference.geometric_mixture(policy, reference, mixture=0.25))).round(3))
        [0.667 0.333]

    References:
        Munos et al., 2023, "Nash Learning from Human Feedback", arXiv:2312.00886.
    """
    logits, reference_logits = elements(logits=logits, reference_logits=reference_logits)
    (mixture,) = like(logits, mixture)
    # A weight of 0 leaves nothing of a logit of −inf, where 0 · −inf would be NaN.
    parts = (
        weight * jnp.where(weight == 0, 0, x) for weight, x in ((1 - mixture, logits), (mixture, reference_logits))
    )
    return jax.nn.log_softmax(sum(parts), axis)
