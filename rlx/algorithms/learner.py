"""What every algorithm shares: the shape of a learner and of the data that it learns from."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree


class Transition(NamedTuple):
    """One step of interaction; leading axes are free (`[time, env]` in a rollout).

    Attributes:
        observation: what was acted on.
        action: what the environment received.
        reward: reward of the step.
        terminated: the task ended here: nothing follows, bootstrap with 0.
        truncated: the episode was cut here: bootstrap with the value of `next_observation`.
        next_observation: what the step reached, *before* any reset.
        extras: what `act` noted about its choice (log-probability, raw action …).
    """

    observation: PyTree
    action: Array
    reward: Float[Array, "*batch"]
    terminated: Bool[Array, "*batch"]
    truncated: Bool[Array, "*batch"]
    next_observation: PyTree
    extras: dict[str, Array]


class Learner(NamedTuple):
    """An algorithm as data plus pure functions.

    Attributes:
        init: `(key, example) -> state`; `example` is a `Transition` with the leading axis `[env]`.
        act: `(state, observation, key) -> (action, extras)`, the exploring policy on `[env, ...]`.
        mode: `(state, observation) -> action`, the deterministic policy.
        update: `(state, batch, key) -> (state, metrics)`; on-policy algorithms take a `[time, env]` rollout,
            off-policy and offline ones minibatches `[minibatches · sample]`.
        minibatches: how many minibatches an off-policy or offline update takes.
        observe: `(state, transitions) -> state`: takes in new experience before it can be drawn from a replay; leading
            axes are free. For statistics over what was experienced, each transition once.
    """

    init: Callable[[PRNGKeyArray, Transition], PyTree]
    act: Callable[[PyTree, PyTree, PRNGKeyArray], tuple[Array, dict[str, Array]]]
    mode: Callable[[PyTree, PyTree], Array]
    update: Callable[[PyTree, Transition, PRNGKeyArray], tuple[PyTree, dict[str, Array]]]
    minibatches: int = 1
    observe: Callable[[PyTree, Transition], PyTree] = lambda state, transitions: state


def spread_over_devices(batch: PyTree) -> PyTree:
    """Spread the leading axis of a minibatch over the mesh axis `env`; without such a mesh, the batch as it is.

    A shuffled minibatch has lost the layout of its rollout, and every device would compute all of it.
    """
    mesh = jax.sharding.get_abstract_mesh()
    size = jax.tree.leaves(batch)[0].shape[0]
    devices = mesh.shape.get("env", 1)
    if devices == 1 or size % devices:
        return batch
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, P("env")), batch)
