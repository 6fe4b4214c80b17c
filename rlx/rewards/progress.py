"""Rewards of a policy that acts between two episodes of another."""

from jaxtyping import Array, Float

from rlx.types import Scalar, elements, like


def improvement(
    return_after: Float[Array, "*#batch"], return_before: Float[Array, "*#batch"], *, baseline: Scalar = 0.0
) -> Float[Array, "*batch"]:
    """Reward of a reflection or the like between two episodes: how much better the second went (Retroformer).

    R = G_after − G_before − baseline. Over a series of trials it telescopes, and offsets of a task cancel. An
    unlucky first episode improves by itself: average several next episodes, or set the baseline to the
    improvement without a reflection.

    Args:
        return_after: return G of the next episode [*batch]; carries the gradient.
        return_before: return of the episode before; carries the gradient.
        baseline: improvement to expect anyway.

    Returns:
        Reward per element.

    Raises:
        ValueError: for a non-floating array, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import rewards
        >>> print(np.asarray(rewards.improvement(jnp.array([1.0, 0.4]), jnp.array([0.2, 0.5]))).round(3))
        [ 0.8 -0.1]

    References:
        Yao et al., 2023, "Retroformer: Retrospective Large Language Agents with Policy Gradient Optimization",
        arXiv:2308.02151.

    Reconstruction:
        The official code, weirayao/Retroformer, trains on the score of a reward model less a baseline; the
        difference of returns, which orders the pairs that this model learns from, is the paper's description.
    """
    return_after, return_before = elements(return_after=return_after, return_before=return_before)
    (baseline,) = like(return_after, baseline)
    return return_after - return_before - baseline
