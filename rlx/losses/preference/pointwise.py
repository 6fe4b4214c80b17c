"""Losses on single responses with a judgment of each, to be minimized; one value per response."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.losses.preference.pairwise import implicit_reward
from rlx.types import Scalar, check_broadcast, elements, like


def kto(
    log_prob: Float[Array, "*#batch"],
    reference_log_prob: Float[Array, "*#batch"],
    desirable: Bool[Array, "*#batch"],
    kl: Float[Array, "*#batch"] | float,
    *,
    beta: Scalar = 0.1,
    desirable_weight: Scalar = 1.0,
    undesirable_weight: Scalar = 1.0,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Kahneman-Tversky optimization, which needs thumbs up or down and no pairs.

    With ρ = log π − log π_ref and z = max(kl, 0), L = λ_D·(1 − σ(β(ρ − z))) of a desirable response and
    λ_U·(1 − σ(β(z − ρ))) of an undesirable one.

    Args:
        log_prob: log π(y|x), summed over the tokens of the response [*batch]; carries the gradient.
        reference_log_prob: the same under the reference policy; a constant.
        desirable: boolean, True where the response is a good one.
        kl: estimate of KL(π ‖ π_ref), such as the mean of ρ over prompts with responses of other prompts; a
            constant, most often one scalar per batch.
        beta: strength β of the divergence.
        desirable_weight: λ_D.
        undesirable_weight: λ_U; λ_D·n_D should be 1 to 4/3 times λ_U·n_U.
        where: boolean mask, True where a response counts.

    Returns:
        Loss per response, 0 where masked.

    Raises:
        ValueError: for a `desirable` or `where` that is not boolean, a non-floating array, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> log_prob, desirable = jnp.array([-8.0, -8.0]), jnp.array([True, False])
        >>> print(np.asarray(preference.kto(log_prob, log_prob - 2.0, desirable, 0.0, beta=0.5)).round(3))
        [0.269 0.731]

    References:
        Ethayarajh et al., 2024, "KTO: Model Alignment as Prospect Theoretic Optimization", arXiv:2402.01306.
    """
    desirable = jnp.asarray(desirable)
    if desirable.dtype != jnp.bool_:
        raise ValueError(f"desirable must be boolean, got dtype {desirable.dtype}; compare it, such as label > 0")
    check_broadcast(log_prob=log_prob, reference_log_prob=reference_log_prob, desirable=desirable, where=where)
    log_prob, reference_log_prob, kl = elements(
        log_prob=log_prob, reference_log_prob=reference_log_prob, kl=kl, where=where
    )
    beta, desirable_weight, undesirable_weight = like(log_prob, beta, desirable_weight, undesirable_weight)
    anchor = beta * jnp.maximum(lax.stop_gradient(kl), 0)
    gain = implicit_reward(log_prob, reference_log_prob, beta=beta) - anchor
    # 1 − σ(x) = σ(−x), which does not cancel for large x.
    loss = jnp.where(desirable, desirable_weight, undesirable_weight) * jax.nn.sigmoid(
        jnp.where(desirable, -gain, gain)
    )
    return loss if where is None else jnp.where(where, loss, 0)


def sppo(
    log_prob: Float[Array, "*#batch"],
    reference_log_prob: Float[Array, "*#batch"],
    win_rate: Float[Array, "*#batch"],
    *,
    beta: Scalar = 0.001,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Self-play preference optimization: the log-ratio is regressed on the win rate against the policy itself.

    L = (ρ − (P − ½)/β)², with ρ = log π − log π_ref and π_ref the policy that drew the responses.

    Args:
        log_prob: log π(y|x), summed over the tokens of the response [*batch]; carries the gradient.
        reference_log_prob: the same under the previous policy; a constant.
        win_rate: P, mean probability that y is preferred to other responses of the previous policy; a constant.
        beta: inverse step size β = 1/η.
        where: boolean mask, True where a response counts.

    Returns:
        Loss per response, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> log_ratio, win_rate = jnp.array([0.0, 0.25, 0.5]), jnp.array([0.75, 0.75, 0.75])
        >>> print(np.asarray(preference.sppo(log_ratio - 10.0, jnp.full(3, -10.0), win_rate, beta=0.5)).round(4))
        [0.25   0.0625 0.    ]

    References:
        Wu et al., 2024, "Self-Play Preference Optimization for Language Model Alignment", arXiv:2405.00675.
    """
    log_prob, reference_log_prob, win_rate = elements(
        log_prob=log_prob, reference_log_prob=reference_log_prob, win_rate=win_rate, where=where
    )
    (beta,) = like(log_prob, beta)
    log_ratio = implicit_reward(log_prob, reference_log_prob, beta=1.0)
    loss = jnp.square(log_ratio - (lax.stop_gradient(win_rate) - 0.5) / beta)
    return loss if where is None else jnp.where(where, loss, 0)
