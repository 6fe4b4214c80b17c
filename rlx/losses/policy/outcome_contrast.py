"""Surrogate that clones correct sequences and reinforces away from wrong ones; one value per token."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from rlx.types import Scalar, check_broadcast, elements, like


def outcome_contrast(
    log_prob: Float[Array, "*#batch"],
    advantage: Float[Array, "*#batch"],
    correct: Bool[Array, "*#batch"] | Float[Array, "*#batch"] | Int[Array, "*#batch"],
    *,
    positive_weight: Float[Array, "*#batch"] | Scalar = 1.0,
    negative_weight: Float[Array, "*#batch"] | Scalar = 1.0,
    negative_coefficient: Scalar = 0.5,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """OREAL: behavior cloning of correct sequences and a reshaped policy gradient on wrong ones.

    L = −A · positive_weight · log π(a|s) where correct > 0, and elsewhere
    L = −negative_coefficient · A · negative_weight · π / sg(π), whose gradient is that of log π. A is the
    leave-one-out advantage, `rlx.returns.group_relative(center="leave_one_out", scale="none")`: of k rollouts with
    pass rate p it is k·(1 − p)/(k − 1) on correct and −k·p/(k − 1) on wrong ones. The paper averages the two
    classes apart: mean(L, where=correct) + mean(L, where=wrong), not one mean over all tokens.

    Args:
        log_prob: log π(a|s) of the tokens [*batch, token]; carries the gradient.
        advantage: advantage A, broadcast over tokens [*batch, 1]; a constant.
        correct: outcome, above 0 for a correct sequence, broadcast over tokens [*batch, 1].
        positive_weight: weight of tokens in correct sequences, as from `rlx.weighting.cumulative_credit`; a constant.
        negative_weight: weight of tokens in wrong sequences; a constant.
        negative_coefficient: factor of the loss of wrong sequences; 0 leaves weighted behavior cloning.
        where: boolean mask, True where a token counts.

    Returns:
        Loss per element, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from rlx.losses import policy
        >>> advantage, correct = jnp.array([[1.0], [-1.0]]), jnp.array([[True], [False]])
        >>> loss = lambda log_prob: policy.outcome_contrast(log_prob, advantage, correct).sum()
        >>> jax.grad(loss)(jnp.full((2, 3), -0.7)).tolist()
        [[-1.0, -1.0, -1.0], [0.5, 0.5, 0.5]]

    References:
        Lyu et al., 2025, "Exploring the Limit of Outcome Reward for Learning Mathematical Reasoning",
        arXiv:2502.06781 (OREAL).
    """
    check_broadcast(
        log_prob=log_prob,
        correct=correct,
        positive_weight=positive_weight,
        negative_weight=negative_weight,
        where=where,
    )
    log_prob, advantage = elements(log_prob=log_prob, advantage=advantage, where=where)
    positive, negative, factor = like(log_prob, positive_weight, negative_weight, negative_coefficient)
    success = correct > 0
    credit = lax.stop_gradient(advantage * jnp.where(success, positive, factor * negative))
    credit = credit if where is None else jnp.where(where, credit, 0)
    # π / sg(π) is 1 with the gradient of log π.
    return -credit * jnp.where(success, log_prob, 1 + (log_prob - lax.stop_gradient(log_prob)))
