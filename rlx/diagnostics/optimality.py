"""How firmly action values decide for one action. Results carry no gradient."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from rlx.types import Scalar, elements, like


def action_gap(
    q: Float[Array, "*batch"], *, where: Bool[Array, "*#batch"] | None = None, axis: int = -1
) -> Float[Array, "..."]:
    """Distance of the best action's value from the second best: how much a value may err (policy cliff).

    gap = Q(s, a₁) − Q(s, a₂), with a₁ and a₂ the best and second best actions; 0 iff several are best.

    Args:
        q: action values [*batch, action].
        where: boolean mask, True where an action is available.
        axis: static; the action axis.

    Returns:
        Gap per state [*batch], without gradient; inf where one action is available and 0 where none is.

    Raises:
        ValueError: for a non-floating `q`, or an unfitting `where`.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import action_gap
        >>> action_gap(jnp.array([[1.0, 0.75, 0.0], [1.0, 1.0, 0.0]])).tolist()
        [0.25, 0.0]

    References:
        Xu, 2025, "The Policy Cliff: A Theoretical Analysis of Reward-Policy Maps in Large Language Models",
        arXiv:2507.20150.
    """
    available, best = _best(q, where, axis)
    leads = available == best
    second = jnp.max(jnp.where(leads, -jnp.inf, available), axis)
    best = jnp.squeeze(best, axis)
    # Equal best values differ by 0, and also the -inf of a state without actions, which would give NaN.
    return jnp.where(jnp.sum(leads, axis) > 1, 0, best - second)


def optimal_multiplicity(
    q: Float[Array, "*batch"],
    *,
    tolerance: Scalar = 1e-6,
    where: Bool[Array, "*#batch"] | None = None,
    axis: int = -1,
) -> Int[Array, "..."]:
    """Number of optimal actions of each state; above 1 the greedy policy can jump with the reward (policy cliff).

    multiplicity = #{a: Q(s, a) ≥ max Q(s, ·) − tolerance}.

    Args:
        q: action values [*batch, action].
        tolerance: largest shortfall that counts as a tie, in units of q: choose it relative to the scale of
            the rewards, and above the rounding error of q.
        where: boolean mask, True where an action is available.
        axis: static; the action axis.

    Returns:
        Count per state [*batch], 0 where no action is available.

    Raises:
        ValueError: for a non-floating `q`, or an unfitting `where`.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.diagnostics import optimal_multiplicity
        >>> optimal_multiplicity(jnp.array([[1.0, 1.0, 0.0], [1.0, 0.75, 0.0]])).tolist()
        [2, 1]

    References:
        Xu, 2025, "The Policy Cliff: A Theoretical Analysis of Reward-Policy Maps in Large Language Models",
        arXiv:2507.20150.
    """
    available, best = _best(q, where, axis)
    (tolerance,) = like(available, tolerance)
    return jnp.sum((available >= best - tolerance) & (available > -jnp.inf), axis)


def _best(q: Array, where: Array | None, axis: int) -> tuple[Array, Array]:
    """Values with -inf for actions that are not available, and the largest of them."""
    (q,) = lax.stop_gradient(elements(q=q, where=where))
    available = q if where is None else jnp.where(where, q, -jnp.inf)
    return available, jnp.max(available, axis, keepdims=True)
