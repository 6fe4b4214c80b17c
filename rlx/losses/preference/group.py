"""Preference losses of a group of rollouts, each correct one preferred to each wrong one."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rlx.losses.preference.pairwise import dpo
from rlx.reduce import mean
from rlx.types import Scalar, check_broadcast, elements


def group_alignment(
    log_prob: Float[Array, "*#batch"],
    reference_log_prob: Float[Array, "*#batch"],
    reward: Float[Array, "*#batch"],
    *,
    temperature: Scalar = 1.0,
    where: Bool[Array, "*#batch"] | None = None,
    axis: int = -1,
) -> Float[Array, "..."]:
    """DYPO's group alignment loss: DPO, averaged over the pairs in which one rollout has more reward than the other.

    L = mean over {(i, j) : R_i > R_j} of −log σ(temperature · (d_i − d_j)), with d = log π − log π_ref of the whole
    sequence. Its weights lie in (0, 1), and its gradients sum to 0 over the group. DYPO's loss of a question is
    the mean of this and of the group-relative surrogate where `rlx.weighting.mixed_outcome`, a demonstration's
    likelihood where no rollout succeeds, and nothing where all do.

    Args:
        log_prob: log-probability of each rollout, summed over tokens [*batch, group]; carries the gradient. Sums over
            long sequences saturate σ: pass means, or a lower temperature.
        reference_log_prob: the same under the reference policy; a constant.
        reward: outcome of each rollout [*batch, group]; a constant.
        temperature: factor β of the log-ratios.
        where: boolean mask, True where a rollout counts.
        axis: static; the group axis.

    Returns:
        Loss per group [*batch]; 0 where all rewards are equal.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> log_prob, reference = jnp.array([-8.0, -10.0, -12.0]), jnp.full(3, -10.0)
        >>> print(np.asarray(preference.group_alignment(log_prob, reference, jnp.array([1.0, 0.0, 0.0]))).round(3))
        0.073
        >>> print(np.asarray(preference.group_alignment(log_prob, reference, jnp.array([0.0, 0.0, 1.0]))).round(3))
        3.073

    References:
        Zhu et al., 2026, "Bridging SFT and RL: Dynamic Policy Optimization for Robust Reasoning",
        arXiv:2604.08926 (DYPO's group alignment loss).
    """
    log_prob, reference_log_prob, reward = elements(
        log_prob=log_prob, reference_log_prob=reference_log_prob, reward=reward, where=where
    )
    shape = check_broadcast(log_prob=log_prob, reference_log_prob=reference_log_prob, reward=reward, where=where)
    mask = True if where is None else where
    log_prob, reference_log_prob, reward, member = (
        jnp.moveaxis(jnp.broadcast_to(x, shape), axis, -1) for x in (log_prob, reference_log_prob, reward, mask)
    )
    pair = member[..., :, None] & member[..., None, :] & (reward[..., :, None] > reward[..., None, :])
    loss = dpo(
        log_prob[..., :, None],
        log_prob[..., None, :],
        reference_log_prob[..., :, None],
        reference_log_prob[..., None, :],
        beta=temperature,
        where=pair,
    )
    return mean(loss, where=pair, axis=(-2, -1))
