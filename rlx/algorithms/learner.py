"""What every algorithm shares: the shape of a learner and of the experience that it learns from."""

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
        memory: of a rollout, what the actor remembered before its first step, `[env, ...]`; None for an actor without
            memory.
    """

    observation: PyTree
    action: Array
    reward: Float[Array, "*batch"]
    terminated: Bool[Array, "*batch"]
    truncated: Bool[Array, "*batch"]
    next_observation: PyTree
    extras: dict[str, Array]
    memory: PyTree = None


class Learner(NamedTuple):
    """An algorithm as data plus pure functions of its own state, which has at least the field `params`.

    An actor with a memory (a recurrent policy) gives `memory`; its `act` and `mode` then take the memory as a further
    argument and return the new one as a further result. Whoever steps environments uses `policy_of`, which makes both
    kinds alike.

    Attributes:
        init: `(key, example) -> state`; `example` is one batch as the source gives it (for an acting learner a
            `Transition` with the leading axis `[env]`), of which shapes matter alone.
        update: `(state, batch, key) -> (state, metrics)`.
        act: `(state, observation, key) -> (action, extras)`, the exploring policy on `[env, ...]`; None where nothing
            acts in an environment. With memory: `(state, observation, key, memory) -> (action, extras, memory)`.
        mode: `(state, observation) -> action`, the deterministic policy. With memory:
            `(state, observation, memory) -> (action, memory)`.
        memory: `count -> memory` with which so many episodes begin, leading axis `[env]`; None without memory.
        minibatches: how many minibatches one update takes of a source that draws them (a delayed policy takes several).
        observe: `(state, experience) -> state`: takes in new experience before it can be drawn from a replay; leading
            axes are free. For statistics over what was experienced, each transition once.
        log_prob: `(state, observation, action) -> [env]`, log-density of actions, as the environment receives them,
            under the exploring policy; None where it has no density, or is not asked for one.
    """

    init: Callable[[PRNGKeyArray, PyTree], PyTree]
    update: Callable[[PyTree, PyTree, PRNGKeyArray], tuple[PyTree, dict[str, Array]]]
    act: Callable[..., tuple] | None = None
    mode: Callable[..., PyTree] | None = None
    memory: Callable[[int], PyTree] | None = None
    minibatches: int = 1
    observe: Callable[[PyTree, PyTree], PyTree] = lambda state, experience: state
    log_prob: Callable[[PyTree, PyTree, Array], Float[Array, " env"]] | None = None


class Policy(NamedTuple):
    """How a learner acts, with a memory that is empty where it remembers nothing.

    Attributes:
        begin: `count -> memory` at the beginning of so many episodes.
        act: `(state, observation, key, memory) -> (action, extras, memory)`, exploring.
        mode: `(state, observation, memory) -> (action, memory)`, deterministic.
    """

    begin: Callable[[int], PyTree]
    act: Callable[[PyTree, PyTree, PRNGKeyArray, PyTree], tuple[Array, dict[str, Array], PyTree]]
    mode: Callable[[PyTree, PyTree, PyTree], tuple[Array, PyTree]]


def policy_of(learner: Learner) -> Policy:
    """The policy of a learner with or without memory, for whoever steps environments.

    Raises:
        ValueError: the learner does not act.
    """
    if learner.act is None or learner.mode is None:
        raise ValueError("this learner does not act: its act or mode is None")
    if learner.memory is not None:
        return Policy(learner.memory, learner.act, learner.mode)
    return Policy(
        begin=lambda count: None,
        act=lambda state, observation, key, memory: (*learner.act(state, observation, key), None),
        mode=lambda state, observation, memory: (learner.mode(state, observation), None),
    )


def spread_over_devices(batch: PyTree) -> PyTree:
    """Spread the leading axis of a minibatch over the mesh axis `env`; without such a mesh, the batch as it is.

    A minibatch that was drawn from a replay has no layout, and every device would compute all of it.
    """
    size = jax.tree.leaves(batch)[0].shape[0]
    devices = devices_along_env()
    if devices == 1 or size % devices:
        return batch
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, P("env")), batch)


def devices_along_env() -> int:
    """Devices over which the environments of a run lie, by the mesh that is set."""
    return jax.sharding.get_abstract_mesh().shape.get("env", 1)
