"""Credit within a sequence from a score per step or token: what is kept, and how much it counts; without gradient."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, check_broadcast, elements, like


def first_error_mask(
    score: Float[Array, "*#batch"],
    *,
    threshold: Scalar = 0.5,
    where: Bool[Array, "*#batch"] | None = None,
    axis: int = -1,
) -> Bool[Array, "*batch"]:
    """Mask of the steps before the first wrong one, the part of a failed rollout that is worth keeping (SCOPE).

    mask_k = m_k and k < e, with e = min{k : m_k and score_k < threshold}, or the end where no step is wrong. A
    stronger policy rewrites the rollout from e on; `rlx.losses.policy.mixed_policy` trains on both parts.

    Args:
        score: score of each step by a process reward model [*batch, step].
        threshold: lowest score of a step that is not an error.
        where: boolean mask m, True where a step counts.
        axis: static; the step axis.

    Returns:
        Boolean mask of the broadcast shape, False where masked.

    Raises:
        ValueError: for a non-floating `score`, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx import weighting
        >>> print(weighting.first_error_mask(jnp.array([0.9, 0.8, 0.2, 0.9])))
        [ True  True False False]

    References:
        Ren et al., 2026, "Recycling Failures: Salvaging Exploration in RLVR via Fine-Grained Off-Policy
        Guidance", arXiv:2602.24110 (SCOPE).

    Reconstruction:
        Rests on the abstract and on one independent summary: the process reward model finds the first wrong step,
        the prefix stays on-policy, and only the suffix is replaced. Unknown are the model, its threshold and how
        the rollouts to repair are chosen.
    """
    (score,) = elements(score=score, where=where)
    (threshold,) = like(score, threshold)
    mask = jnp.broadcast_to(True if where is None else where, check_broadcast(score=score, where=where))
    errors = jnp.cumsum(mask & (score < threshold), axis, dtype=jnp.int32)
    return mask & (errors == 0)


def cumulative_credit(
    score: Float[Array, "*#batch"],
    *,
    threshold: Scalar = 0.5,
    where: Bool[Array, "*#batch"] | None = None,
    axis: int = -1,
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Weights of tokens in correct and in wrong sequences, from a reward model's running verdict (OREAL).

    With q_t = σ(mean of the valid scores up to t), positive = clip((q − threshold) / (1 − threshold), 0, 1) and
    negative = clip((1 − q − threshold) / (1 − threshold), 0, 1): a token counts as far as the sequence up to it
    looks decided. They are the weights of `rlx.losses.policy.outcome_contrast`. The reward model is trained with
    the cross-entropy of its mean score over the sequence against the outcome.

    Args:
        score: logit of success at each token [*batch, token].
        threshold: probability in [0, 1) that has weight 0; from 0.5 on, no token has both weights.
        where: boolean mask, True where a token counts.
        axis: static; the token axis.

    Returns:
        The weights (positive, negative) in [0, 1], without gradient, 0 where masked.

    Raises:
        ValueError: for a non-floating `score`, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import weighting
        >>> positive, negative = weighting.cumulative_credit(jnp.array([2.0, 2.0, -10.0, -2.0]))
        >>> print(np.asarray(positive).round(3))
        [0.762 0.762 0.    0.   ]
        >>> print(np.asarray(negative).round(3))
        [0.    0.    0.762 0.762]

    References:
        Lyu et al., 2025, "Exploring the Limit of Outcome Reward for Learning Mathematical Reasoning",
        arXiv:2502.06781 (OREAL).
    """
    (score,) = lax.stop_gradient(elements(score=score, where=where))
    mask = jnp.broadcast_to(True if where is None else where, check_broadcast(score=score, where=where))
    wide = jnp.broadcast_to(score, mask.shape).astype(jnp.promote_types(score.dtype, jnp.float32))
    count = jnp.maximum(jnp.cumsum(mask, axis, dtype=jnp.int32), 1)
    verdict = jnp.cumsum(wide, axis) / count
    (threshold,) = like(verdict, threshold)

    def weight(logit: Array) -> Array:
        rescaled = jnp.clip((jax.nn.sigmoid(logit) - threshold) / (1 - threshold), 0, 1)
        return jnp.where(mask, rescaled, 0).astype(score.dtype)

    return weight(verdict), weight(-verdict)
