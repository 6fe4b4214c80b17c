"""Distance of a policy from the whole dataset, rather than from the action at the same state."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.nearest import nearest_rows
from rlx.regularizers.behavior.distance import action_distance
from rlx.types import Scalar, check_broadcast, check_mask, elements, floating, like


def dataset_constraint(
    observation: Float[Array, "..."],
    action: Float[Array, "..."],
    data_observation: Float[Array, "row observation"],
    data_action: Float[Array, "row action"],
    *,
    beta: Scalar = 2.0,
    k: int = 1,
    chunk: int | None = None,
    where: Bool[Array, "..."] | None = None,
) -> Float[Array, "..."]:
    """Distance of the policy's action from that of the nearest state-action pair in the dataset (PRDC).

    L = mean_d (a_d − sg(b_d))², with b the action of the k-th nearest row i of the dataset by the distance
    ‖(β·s, a) − (β·s_i, a_i)‖. A large β looks for the nearest state first, as TD3+BC does; β = 0 allows any
    action of the data.

    Args:
        observation: s [*batch, observation], on the scale of the dataset's; a constant.
        action: the policy's action a = π(s) [*batch, action]; carries the gradient.
        data_observation: all observations of the dataset [row, observation]; a constant.
        data_action: their actions [row, action]; a constant.
        beta: β, how much a distance of states weighs against one of actions.
        k: static; which neighbor: 1 is the nearest.
        chunk: static; rows compared at a time, None for all: memory is about the product of batch and chunk.
        where: boolean mask [*batch], True where an element counts.

    Returns:
        Penalty per element [*batch], 0 where masked.

    Raises:
        ValueError: for `k` or `chunk` out of range, a non-floating array, a non-boolean `where`, or unfitting
            shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.regularizers import behavior
        >>> state, action = jnp.array([[0.0]]), jnp.array([[0.2]])
        >>> data = jnp.array([[0.0], [1.0]]), jnp.array([[1.0], [0.2]])
        >>> print(np.asarray(behavior.dataset_constraint(state, action, *data)).round(3))
        [0.64]
        >>> print(np.asarray(behavior.dataset_constraint(state, action, *data, beta=0.0)).round(3))
        [0.]

    References:
        Ran et al., 2023, "Policy Regularization with Dataset Constraint for Offline Reinforcement Learning",
        arXiv:2306.06569 (PRDC).
    """
    check_mask(where)
    observation, action, data_observation, data_action = floating(
        observation=observation, action=action, data_observation=data_observation, data_action=data_action
    )
    check_broadcast(observation=observation[..., 0], action=action[..., 0], where=where)
    check_broadcast(data_observation=data_observation[..., 0], data_action=data_action[..., 0])
    if where is not None:
        (observation,) = elements(observation=observation, where=jnp.expand_dims(where, -1))
        (action,) = elements(action=action, where=jnp.expand_dims(where, -1))
    (beta,) = like(observation, beta)
    query = jnp.concatenate([beta * observation, action], -1)
    keys = jnp.concatenate([beta * data_observation, data_action], -1)
    index, _ = nearest_rows(query, keys, k=k, chunk=chunk)
    return action_distance(action, lax.stop_gradient(data_action)[index[..., -1]], where=where)
