"""One-step targets and errors of critics, single or in an ensemble."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, check_choice, elements, like

AGGREGATES = {"min": jnp.min, "max": jnp.max, "mean": jnp.mean}


def ensemble_target(
    reward: Float[Array, "..."],
    discount: Float[Array, "..."] | float,
    next_q: Float[Array, "..."],
    *,
    penalty: Scalar = 0.0,
    aggregate: str = "min",
    axis: int = 0,
) -> Float[Array, "..."]:
    """One-step target of critics (TD3, SAC, SAC-N) from the next values of an ensemble, less a penalty.

    y = sg(r + d·(min_i Q_i' − penalty)), with max_i or mean_i in place of min_i under `aggregate`. At d = 0 it
    is r, whatever the next values. The penalty makes it the target of TD3 (0), SAC (temperature·log π(a'|s')),
    ReBRAC (β·‖a' − â'‖²), and with more rows of SAC-N and EDAC; max over samples is CQL's max-target backup.

    Args:
        reward: r [*batch].
        discount: d = γ·(1 − termination) [*batch].
        next_q: target critics' values Q' of the next state [ensemble, *batch].
        penalty: taken from the next value; a number, or an array [*batch].
        aggregate: static; "min", "max" or "mean" over the ensemble.
        axis: static; the ensemble axis of `next_q`.

    Returns:
        Targets [*batch], without gradient.

    Raises:
        ValueError: for an unknown `aggregate`, a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import value
        >>> next_q = jnp.array([[1.0, 4.0], [3.0, 2.0]])
        >>> print(value.ensemble_target(jnp.array([1.0, 1.0]), jnp.array([0.5, 0.0]), next_q))
        [1.5 1. ]
        >>> print(value.ensemble_target(jnp.array([1.0, 1.0]), jnp.array([0.5, 0.0]), next_q, aggregate="max"))
        [2.5 1. ]

    References:
        Fujimoto, van Hoof and Meger, 2018, "Addressing Function Approximation Error in Actor-Critic Methods",
        arXiv:1802.09477 (TD3).
        Haarnoja et al., 2018, "Soft Actor-Critic Algorithms and Applications", arXiv:1812.05905.
        An et al., 2021, "Uncertainty-Based Offline Reinforcement Learning with Diversified Q-Ensemble",
        arXiv:2110.01548 (SAC-N).
        Tarasov et al., 2023, "Revisiting the Minimalist Approach to Offline Reinforcement Learning",
        arXiv:2305.09836 (ReBRAC).
    """
    check_choice("aggregate", aggregate, tuple(AGGREGATES))
    (next_q,) = elements(next_q=next_q)
    reward, discount, next_value, penalty = lax.stop_gradient(
        elements(
            reward=reward,
            discount=discount,
            next_q=AGGREGATES[aggregate](next_q, axis),
            penalty=like(next_q, penalty)[0],
        )
    )
    # Beyond an episode's end the next values mean nothing, and 0 · inf would be NaN.
    return reward + jnp.where(discount == 0, 0, discount * (next_value - penalty))


def squared_td(
    q: Float[Array, "*#batch"],
    target: Float[Array, "*#batch"],
    *,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Squared temporal-difference (TD) error, as the codes of TD3, SAC and CQL write it.

    L = (Q − sg(y))², twice `rlx.losses.value.squared_error`: TD3, SAC, CQL and their relatives have no ½, on
    which their learning rates and loss weights rest.

    Args:
        q: value Q(s, a) of each critic [*batch], or [ensemble, *batch]; carries the gradient.
        target: target y [*batch], such as `ensemble_target`; a constant.
        where: boolean mask, True where an element counts.

    Returns:
        Loss per element of `q`, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import value
        >>> print(value.squared_td(jnp.array([1.0, 3.0]), jnp.array([2.0, 0.0])))
        [1. 9.]

    References:
        Fujimoto, van Hoof and Meger, 2018, "Addressing Function Approximation Error in Actor-Critic Methods",
        arXiv:1802.09477.
    """
    q, target = elements(q=q, target=target, where=where)
    return jnp.square(q - lax.stop_gradient(target))
