"""How hard a prompt is for the policy as it is now."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean
from rlx.types import elements


def relative_difficulty(
    reward: Float[Array, "*batch"],
    buffer_mean: Float[Array, "..."],
    *,
    where: Bool[Array, "*#batch"] | None = None,
    axis: int = -1,
) -> Float[Array, "..."]:
    """How far a prompt's mean reward falls short of what was common lately (Reg-GRPO).

    ΔR = R̄_W − (1/G) Σ_j R_j, with R̄_W the mean over the group means of the last W steps. ΔR > 0 is harder than
    usual and calls for hints, ΔR < 0 is easier and calls for a perturbed prompt, both in proportion to |ΔR|.

    Args:
        reward: rewards R of the prompt's rollouts [*batch, group].
        buffer_mean: R̄_W, a scalar or of shape [*batch].
        where: boolean mask, True where a rollout counts.
        axis: static; the group axis.

    Returns:
        ΔR [*batch], without gradient, 0 where no rollout counts.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.curriculum import relative_difficulty
        >>> relative_difficulty(jnp.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]), jnp.array(0.5)).tolist()
        [0.25, -0.5]

    References:
        Park et al., 2025, "DeepVideo-R1: Video Reinforcement Fine-Tuning via Difficulty-aware Regressive GRPO",
        arXiv:2506.07464 (equation 9).
    """
    buffer_mean = jnp.asarray(buffer_mean)
    usual = jnp.expand_dims(buffer_mean, axis) if buffer_mean.ndim else buffer_mean
    reward, usual = lax.stop_gradient(elements(reward=reward, buffer_mean=usual, where=where))
    # A mean of differences, not a difference of means: it is 0 where no rollout counts.
    return mean(jnp.broadcast_to(usual, reward.shape) - reward, where=where, axis=axis)
