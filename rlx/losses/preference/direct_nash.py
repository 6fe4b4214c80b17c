"""Direct Nash optimization: soft policy iteration on win rates, as a regression on pairs."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.losses.preference.pairwise import dpo
from rlx.reduce import mean
from rlx.types import Scalar, elements, like


def dno(
    chosen_log_prob: Float[Array, "*#batch"],
    rejected_log_prob: Float[Array, "*#batch"],
    behavior_chosen_log_prob: Float[Array, "*#batch"],
    behavior_rejected_log_prob: Float[Array, "*#batch"],
    chosen_reward: Float[Array, "*#batch"],
    rejected_reward: Float[Array, "*#batch"],
    *,
    eta: Scalar = 0.1,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Direct Nash optimization: the policy's log-ratio is regressed on a difference of win rates.

    With m = η·[log (π/π_t)(y_1) − log (π/π_t)(y_2)] and p = σ(r_t(y_1) − r_t(y_2)),
    L = −p·log σ(m) − (1 − p)·log σ(−m), whose minimum m = r_t(y_1) − r_t(y_2) is the soft policy iteration
    π_{t+1} ∝ π_t · exp(r_t / η). It is `dpo` with π_t as its reference and p as its label, and the practical form
    DNO-Prct is `dpo` on the pairs of `margin_pairs`. Rewards that are win rates differ by less than 1, so p stays
    within (0.27, 0.73), and 1/η sets the step.
    On a CPU the exponential and the logarithm of the link cost several times the memory traffic.

    Args:
        chosen_log_prob: log π(y_1|x), summed over the tokens of the response [*batch]; carries the gradient.
        rejected_log_prob: log π(y_2|x); carries the gradient.
        behavior_chosen_log_prob: log π_t(y_1|x) under the previous iterate, which generated the pair; a constant.
        behavior_rejected_log_prob: log π_t(y_2|x); a constant.
        chosen_reward: r_t(y_1), such as from `win_rate_reward`; a constant.
        rejected_reward: r_t(y_2); a constant.
        eta: temperature η of the soft policy iteration.
        where: boolean mask, True where a pair counts.

    Returns:
        Loss per pair, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> log_ratio, behavior, reward = jnp.array([2.0, 6.0]), jnp.full(2, -10.0), jnp.full(2, 0.7)
        >>> loss = lambda x: preference.dno(behavior + x, behavior, behavior, behavior, reward, reward - 0.4).sum()
        >>> print(np.asarray(jax.grad(loss)(log_ratio)).round(4))
        [-0.0049  0.0047]

    References:
        Rosset et al., 2024, "Direct Nash Optimization: Teaching Language Models to Self-Improve with General
        Preferences", arXiv:2404.03715.
    """
    chosen, rejected, behavior_chosen, behavior_rejected, chosen_reward, rejected_reward = elements(
        chosen_log_prob=chosen_log_prob,
        rejected_log_prob=rejected_log_prob,
        behavior_chosen_log_prob=behavior_chosen_log_prob,
        behavior_rejected_log_prob=behavior_rejected_log_prob,
        chosen_reward=chosen_reward,
        rejected_reward=rejected_reward,
        where=where,
    )
    label = jax.nn.sigmoid(lax.stop_gradient(chosen_reward - rejected_reward))
    return dpo(chosen, rejected, behavior_chosen, behavior_rejected, beta=eta, label=label, where=where)


def win_rate_reward(
    preference: Float[Array, "..."], *, where: Bool[Array, "..."] | None = None, axis: int = -1
) -> Float[Array, "..."]:
    """DNO's reward under general preferences: how often a response beats those of the current policy.

    r_t(y) = E_{y' ~ π_t} P(y ≻ y') ≈ Σ_j m_j·P(y ≻ y'_j) / Σ_j m_j.

    Args:
        preference: P(y ≻ y') of a response and each opponent [*batch, opponent].
        where: boolean mask m, True where an opponent counts; leave out a response against itself, or count it
            at ½.
        axis: static; the axis of the opponents.

    Returns:
        Reward [*batch] in [0, 1], without gradient; 0 where no opponent counts.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> beats = jnp.array([[0.5, 0.9, 0.8], [0.1, 0.5, 0.3], [0.2, 0.7, 0.5]])
        >>> print(np.asarray(preference.win_rate_reward(beats, where=~jnp.eye(3, dtype=bool))).round(3))
        [0.85 0.2  0.45]

    References:
        Rosset et al., 2024, "Direct Nash Optimization: Teaching Language Models to Self-Improve with General
        Preferences", arXiv:2404.03715.
    """
    (preference,) = lax.stop_gradient(elements(preference=preference, where=where))
    return mean(preference, where=where, axis=axis)


def margin_pairs(
    reward: Float[Array, "..."],
    *,
    threshold: Scalar,
    axis: int = -1,
    where: Bool[Array, "..."] | None = None,
) -> Bool[Array, "..."]:
    """Which ordered pairs of candidate responses differ enough to learn from, as in DNO-Prct.

    mask_ij = (r_i − r_j > threshold): i is chosen, j rejected.

    Args:
        reward: reward or grade of each candidate [*batch, candidate].
        threshold: the margin that a pair must exceed, not negative.
        axis: static; the axis of the candidates.
        where: boolean mask, True where a candidate counts.

    Returns:
        Mask [*batch, chosen, rejected], its two axes in the place of `axis`.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import preference
        >>> mask = preference.margin_pairs(jnp.array([3.0, 1.0, 2.5]), threshold=1.0)
        >>> jnp.argwhere(mask).tolist()
        [[0, 1], [2, 1]]

    References:
        Rosset et al., 2024, "Direct Nash Optimization: Teaching Language Models to Self-Improve with General
        Preferences", arXiv:2404.03715.
    """
    (reward,) = elements(reward=reward, where=where)
    (threshold,) = like(reward, threshold)
    mask = jnp.broadcast_to(True if where is None else where, reward.shape)
    rejected_axis, chosen_axis = axis % reward.ndim + 1, axis % reward.ndim
    gap = jnp.expand_dims(reward, rejected_axis) - jnp.expand_dims(reward, chosen_axis)
    return (gap > threshold) & jnp.expand_dims(mask, rejected_axis) & jnp.expand_dims(mask, chosen_axis)
