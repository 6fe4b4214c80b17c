"""Scores of tree search that is guided by a policy and a value."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from rlx.types import Scalar, elements, floating, like


def puct(
    value: Float[Array, "*#batch"],
    visits: Real[Array, "*#batch"],
    parent_visits: Real[Array, "*#batch"],
    prior: Float[Array, "*#batch"],
    *,
    exploration: Scalar = 1.0,
) -> Float[Array, "*batch"]:
    """Score by which a search picks the next child: its value plus a bonus for likely, little visited ones.

    score = Q + exploration · prior · √N_parent / (1 + N).

    Args:
        value: mean value Q of each child [*batch].
        visits: number N of visits of each child; integers or floats.
        parent_visits: number of visits of its parent.
        prior: probability of each child under the policy, or any non-negative preference.
        exploration: factor of the bonus.

    Returns:
        Score of each child [*batch]; the search takes the largest.

    Raises:
        ValueError: for a non-floating `value` or `prior`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.tabular import puct
        >>> value, visits, prior = jnp.array([0.75, 0.5]), jnp.array([15, 1]), jnp.array([0.5, 0.5])
        >>> puct(value, visits, jnp.array(16), prior).tolist()
        [0.875, 1.5]

    References:
        Xie et al., 2024, "Monte Carlo Tree Search Boosts Reasoning via Iterative Preference Learning",
        arXiv:2405.00451.
        Silver et al., 2017, "Mastering the Game of Go without Human Knowledge".
    """
    value, prior = floating(value=value, prior=prior)
    value, visits, parent_visits, prior = elements(
        value=value, visits=visits.astype(value.dtype), parent_visits=parent_visits.astype(value.dtype), prior=prior
    )
    (exploration,) = like(value, exploration)
    return value + exploration * prior * jnp.sqrt(parent_visits) / (1 + visits)


def length_penalized_prior(
    log_prob_sum: Float[Array, "*#batch"], length: Real[Array, "*#batch"], *, power: Scalar = 1.25
) -> Float[Array, "*batch"]:
    """Prior of a reasoning step that does not vanish with the step's length (MCTS-DPO).

    prior = exp(Σ_t log π_t / length^power). Power 1 is the geometric mean of the token probabilities.

    Args:
        log_prob_sum: log-probability of the step, summed over its tokens [*batch].
        length: number of its tokens, at least 1; an integer or a float.
        power: exponent of the length.

    Returns:
        Prior of each step [*batch], in (0, 1].

    Raises:
        ValueError: for a non-floating `log_prob_sum` or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.tabular import length_penalized_prior
        >>> [round(x, 3) for x in length_penalized_prior(jnp.array([-1.0, -4.0]), jnp.array([1, 4])).tolist()]
        [0.368, 0.493]

    References:
        Xie et al., 2024, "Monte Carlo Tree Search Boosts Reasoning via Iterative Preference Learning",
        arXiv:2405.00451.
    """
    (log_prob_sum,) = floating(log_prob_sum=log_prob_sum)
    log_prob_sum, length = elements(log_prob_sum=log_prob_sum, length=length.astype(log_prob_sum.dtype))
    (power,) = like(length, power)
    return jnp.exp(log_prob_sum / length**power)
