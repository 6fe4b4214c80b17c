"""Preference labels from the visits of a tree search."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Real

from rlx.types import elements


def visit_label(
    chosen_visits: Real[Array, "*#batch"], rejected_visits: Real[Array, "*#batch"]
) -> Float[Array, "*batch"]:
    """Soft label of a pair of search nodes (MCTS-DPO): the chosen one's share of their visits.

    p = max(½, 1 / (1 + N_rejected / max(1, N_chosen))). It is the `label` of `rlx.losses.preference.dpo`, on
    log-probabilities of the steps from the first token in which they differ.

    Args:
        chosen_visits: visits of the chosen node [*batch]; integers or floats.
        rejected_visits: visits of the rejected node.

    Returns:
        Probability in [½, 1] that the chosen node is the better one [*batch], without gradient.

    Raises:
        ValueError: for unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import preference
        >>> print(preference.visit_label(jnp.array([30, 10, 5]), jnp.array([10, 10, 20])))
        [0.75 0.5  0.5 ]

    References:
        Xie et al., 2024, "Monte Carlo Tree Search Boosts Reasoning via Iterative Preference Learning",
        arXiv:2405.00451.
    """
    dtype = jnp.result_type(chosen_visits, rejected_visits, float)
    chosen, rejected = lax.stop_gradient(
        elements(chosen_visits=chosen_visits.astype(dtype), rejected_visits=rejected_visits.astype(dtype))
    )
    return jnp.maximum(1 / (1 + rejected / jnp.maximum(chosen, 1)), 0.5)
