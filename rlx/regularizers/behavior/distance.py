"""Distance of a policy's action from an action to stay near."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, check_choice, check_mask, elements, like


def action_distance(
    action: Float[Array, "..."],
    behavior_action: Float[Array, "..."],
    *,
    weight: Float[Array, "..."] | None = None,
    where: Bool[Array, "..."] | None = None,
    reduce: str = "mean",
) -> Float[Array, "..."]:
    """Squared distance between two actions, over the last axis (TD3+BC, ReBRAC).

    L = w·mean_d (a_d − b_d)², or with the sum over d. The mean is behavior cloning of a deterministic policy, and
    the penalty of TD3+BC, PRDC and A2PR; the sum is ReBRAC's, and with w the deterministic policy loss of
    implicit Q-learning. Coefficients do not carry over from one to the other.

    Args:
        action: the policy's action a [*batch, action]; carries the gradient.
        behavior_action: the action b to stay near, the dataset's or another [*batch, action]; carries the
            gradient too, so stop it where it comes from a network that is not to follow.
        weight: w [*batch]; a constant. None for 1.
        where: boolean mask [*batch], True where an element counts.
        reduce: static; "mean" or "sum" over the action's dimensions.

    Returns:
        Distance per element [*batch], 0 where masked.

    Raises:
        ValueError: for an unknown `reduce`, a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.regularizers import behavior
        >>> action, behavior_action = jnp.array([[0.5, -0.5]]), jnp.array([[0.5, 0.5]])
        >>> print(behavior.action_distance(action, behavior_action))
        [0.5]
        >>> print(behavior.action_distance(action, behavior_action, reduce="sum"))
        [1.]

    References:
        Fujimoto and Gu, 2021, "A Minimalist Approach to Offline Reinforcement Learning", arXiv:2106.06860.
        Tarasov et al., 2023, "Revisiting the Minimalist Approach to Offline Reinforcement Learning",
        arXiv:2305.09836.
    """
    check_choice("reduce", reduce, ("mean", "sum"))
    check_mask(where)
    action, behavior_action, weight = elements(
        action=action,
        behavior_action=behavior_action,
        weight=1.0 if weight is None else jnp.expand_dims(weight, -1),
        where=None if where is None else jnp.expand_dims(where, -1),
    )
    squared = lax.stop_gradient(weight) * jnp.square(action - behavior_action)
    return jnp.mean(squared, -1) if reduce == "mean" else jnp.sum(squared, -1)


def advantage_guided(
    action: Float[Array, "..."],
    behavior_action: Float[Array, "..."],
    candidate_action: Float[Array, "..."],
    behavior_q: Float[Array, "..."],
    candidate_q: Float[Array, "..."],
    value: Float[Array, "..."],
    *,
    scale: Scalar = 1.0,
    where: Bool[Array, "..."] | None = None,
) -> Float[Array, "..."]:
    """Distance from the better of the dataset's action and a generated one, where either beats the state (A2PR).

    L = m·mean_d (a_d − t_d)², with t = candidate where Q(candidate) ≥ Q(behavior) and the dataset's action
    elsewhere, and m = scale·1[Q(candidate) ≥ V or Q(behavior) > V], at most `scale`. V = −inf with
    candidate = behavior is TD3+BC's penalty.

    Args:
        action: the policy's action a [*batch, action]; carries the gradient.
        behavior_action: the dataset's action [*batch, action]; a constant.
        candidate_action: a fresh sample of a generative model of good actions [*batch, action]; carries the
            gradient, as in the official code, where it reaches the policy through the model's encoder. Wrap
            it in `lax.stop_gradient` to hold it.
        behavior_q: critic's value of the dataset's action [*batch]; a constant.
        candidate_q: critic's value of the candidate [*batch]; a constant.
        value: V(s) of the state [*batch]; a constant.
        scale: weight of the penalty.
        where: boolean mask [*batch], True where an element counts.

    Returns:
        Penalty per element [*batch], 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.regularizers import behavior
        >>> policy, data, candidate = jnp.zeros((3, 1)), jnp.ones((3, 1)), jnp.full((3, 1), 2.0)
        >>> data_q, candidate_q, value = jnp.array([[1.0, 3.0, 1.0], [2.0, 2.0, 2.0], [0.0, 0.0, 5.0]])
        >>> print(behavior.advantage_guided(policy, data, candidate, data_q, candidate_q, value))
        [4. 1. 0.]

    References:
        Liu et al., 2024, "Adaptive Advantage-Guided Policy Regularization for Offline Reinforcement Learning",
        arXiv:2405.19909 (A2PR).
    """
    check_mask(where)
    action, behavior_action, candidate_action, behavior_q, candidate_q, value = elements(
        action=action,
        behavior_action=behavior_action,
        candidate_action=candidate_action,
        behavior_q=jnp.expand_dims(behavior_q, -1),
        candidate_q=jnp.expand_dims(candidate_q, -1),
        value=jnp.expand_dims(value, -1),
        where=None if where is None else jnp.expand_dims(where, -1),
    )
    (scale,) = like(action, scale)
    target = jnp.where(candidate_q >= behavior_q, candidate_action, lax.stop_gradient(behavior_action))
    advantageous = (candidate_q >= value) | (behavior_q > value)
    return action_distance(action, target, weight=jnp.where(advantageous, scale, 0)[..., 0], where=where)
