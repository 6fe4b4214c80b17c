"""One reward out of several signals."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, check_broadcast, elements, floating, like


def format_mixture(
    correct: Float[Array, "*#batch"], formatted: Float[Array, "*#batch"], *, format_weight: Scalar = 0.1
) -> Float[Array, "*batch"]:
    """Reward of a verified answer with a share for its form (LLaVA-Critic-R1).

    R = (1 − format_weight)·correct + format_weight·formatted. Once every rollout of a group keeps to the form,
    the share cancels out of group-relative advantages.

    Args:
        correct: 1 where the answer, or the judged preference, is right, else 0 [*batch]; carries the gradient.
        formatted: 1 where the response keeps to the asked form, else 0; carries the gradient.
        format_weight: share of the form.

    Returns:
        Reward per element.

    Raises:
        ValueError: for a non-floating array, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import rewards
        >>> print(np.asarray(rewards.format_mixture(jnp.array([1.0, 0.0, 1.0]), jnp.array([1.0, 1.0, 0.0]))).round(3))
        [1.  0.1 0.9]

    References:
        Wang et al., 2025, "LLaVA-Critic-R1: Your Critic Model is Secretly a Strong Policy Model",
        arXiv:2509.00676.
    """
    correct, formatted = elements(correct=correct, formatted=formatted)
    (format_weight,) = like(correct, format_weight)
    return (1 - format_weight) * correct + format_weight * formatted


def effective_reward(
    reward: Float[Array, "*#batch"], weight: Float[Array, "*#batch"], *, axis: int = -1
) -> Float[Array, "..."]:
    """The single reward that training on several rewards with state-dependent weights amounts to (Policy Cliff).

    R_eff(s, a) = Σ_k w_k(s)·R_k(s, a). Where R_1 has several optimal actions, R_1 + ε·R_2 selects the best of
    them under R_2 for every small ε > 0.

    Args:
        reward: rewards R_k [*batch, component]; carries the gradient.
        weight: weights w_k, of a shape that broadcasts to `reward`'s or that it broadcasts to; carries the
            gradient.
        axis: static; the axis of components.

    Returns:
        Rewards [*batch].

    Raises:
        ValueError: for a non-floating array, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx import rewards
        >>> reward, weight = jnp.array([[1.0, 5.0], [1.0, 0.0]]), jnp.array([1.0, 0.1])
        >>> print(rewards.effective_reward(reward, weight))
        [1.5 1. ]

    References:
        Xu, 2025, "The Policy Cliff: A Theoretical Analysis of Reward-Policy Maps in Large Language Models",
        arXiv:2507.20150.
    """
    reward, weight = elements(reward=reward, weight=weight)
    return jnp.sum(weight * reward, axis)


def partial_credit(
    score: Float[Array, "*batch"],
    valid: Bool[Array, "*batch"],
    marker: Bool[Array, "*batch marker"],
    *,
    failure: Scalar = -10.0,
    bonus: Scalar = 0.1,
) -> Float[Array, "*batch"]:
    """Task score of a gradable solution, else credit for the steps it completed (environment instrumentation).

    R = score where valid, else failure + bonus·Σ_m marker_m. Any gradable solution outranks every partial one
    as long as failure + bonus·(number of markers) lies below the lowest score. The markers have to be put
    into the program by a model that is not in training, or the policy learns to print them.

    Args:
        score: task score, negated where lower is better [*batch]; may be NaN where not valid; carries the
            gradient.
        valid: whether the solution could be graded.
        marker: which progress markers, such as "loaded data" or "trained a model", appeared in the output
            [*batch, marker]; seven in the paper.
        failure: reward of a solution that completed no step.
        bonus: reward of each marker.

    Returns:
        Reward per element.

    Raises:
        ValueError: for a non-floating `score`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import rewards
        >>> score, valid = jnp.array([0.7, jnp.nan]), jnp.array([True, False])
        >>> marker = jnp.array([[True, True, True], [True, True, False]])
        >>> print(np.asarray(rewards.partial_credit(score, valid, marker)).round(3))
        [ 0.7 -9.8]

    References:
        Yang et al., 2025, "Reinforcement Learning for Machine Learning Engineering Agents", arXiv:2509.01684.
    """
    check_broadcast(score=score, valid=valid, marker=jnp.any(marker, -1))
    (score,) = floating(score=score)
    failure, bonus = like(score, failure, bonus)
    return jnp.where(valid, score, failure + bonus * jnp.sum(marker, -1).astype(score.dtype))
