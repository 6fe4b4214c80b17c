"""Rewards of a second attempt that corrects the first."""

from jaxtyping import Array, Float

from rlx.types import Scalar, elements, like


def self_correction(
    first_reward: Float[Array, "*#batch"], second_reward: Float[Array, "*#batch"], *, coefficient: Scalar = 10.0
) -> Float[Array, "*batch"]:
    """Reward of a second attempt, with a bonus for what it improves on the first (SCoRe).

    r̃₂ = r₂ + coefficient·(r₂ − r₁). It belongs to the tokens of the second attempt alone: with one baseline for
    both attempts the bonus leaks into the first and teaches it to fail.

    Args:
        first_reward: reward r₁ of the first attempt [*batch].
        second_reward: reward r₂ of the second attempt.
        coefficient: weight of the improvement.

    Returns:
        Shaped rewards of the broadcast shape.

    Raises:
        ValueError: for a non-floating array, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx import rewards
        >>> print(rewards.self_correction(jnp.array([0.0, 1.0, 1.0]), jnp.array([1.0, 1.0, 0.0])))
        [ 11.   1. -10.]

    References:
        Kumar et al., 2024, "Training Language Models to Self-Correct via Reinforcement Learning",
        arXiv:2409.12917.
    """
    first_reward, second_reward = elements(first_reward=first_reward, second_reward=second_reward)
    (coefficient,) = like(second_reward, coefficient)
    return second_reward + coefficient * (second_reward - first_reward)
