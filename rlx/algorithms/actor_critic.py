"""What off-policy actor-critics share: their state, what their slots see, target networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from rlx.algorithms.learner import Transition, spread_over_devices
from rlx.losses.value import squared_td
from rlx.policies import Network
from rlx.types import Scalar


class ActorCriticState(NamedTuple):
    """Everything that an off-policy actor-critic learns.

    Attributes:
        params: `{"actor", "critic", …}` parameters; every parameter of `critic` has the leading axis `[ensemble]`.
        target_params: those of them that have a slowly moving copy.
        optimizer_state: states of the optimizers, by the same names.
        auxiliary: state of the auxiliary models, or None.
        step: critic steps taken.
    """

    params: dict[str, PyTree]
    target_params: dict[str, PyTree]
    optimizer_state: dict[str, PyTree]
    auxiliary: PyTree
    step: Int[Array, ""]


class GradientStep(NamedTuple):
    """What the slots of one gradient step see; arrays have the leading axis `[sample]`.

    A field is None until it is known: `target_penalty` sees those up to `next_action`, `critic_penalty` those up
    to `target` and the critics' `q` of the data's actions, `auxiliary` those up to `penalty` and the critics
    after their step, `actor_penalty` all, with `action` and `q` those of the policy in training.

    Attributes:
        batch: the minibatch; its `extras` hold what the sampler added (`next_action`, `index` …).
        critic: `(observation, action) -> [ensemble, *batch]`. Carries the gradient of the critics' parameters in
            `critic_penalty` and that of its arguments everywhere.
        critic_params: the parameters that `critic` uses.
        policy: `observation -> action` (TD3) or `observation -> ActionDistribution` (SAC). Carries the gradient of
            the policy's parameters in `actor_penalty`.
        step: critic steps taken before.
        auxiliary: state of the auxiliary models, before their step, and in `actor_penalty` after it.
        key: random key of this slot.
        next_action: action at the next observation that the target bootstraps from, a constant.
        target: target of the critics, a constant.
        penalty: what `critic_penalty` gave, a constant.
        notes: what the auxiliary models noted for the actor, a constant.
        action: the policy's action, carries the gradient.
        log_prob: its log-probability (SAC), carries the gradient.
        q: the critics' values `[ensemble, sample]`, carry the gradient; in `actor_penalty` the first critic's alone
            where the actor maximizes no other.
    """

    batch: Transition
    critic: Callable[[PyTree, Array], Array]
    critic_params: PyTree
    policy: Callable[[PyTree], Any]
    step: Int[Array, ""]
    auxiliary: PyTree
    key: PRNGKeyArray | None = None
    next_action: Array | None = None
    target: Float[Array, " sample"] | None = None
    penalty: Array | None = None
    notes: PyTree = None
    action: Array | None = None
    log_prob: Float[Array, " sample"] | None = None
    q: Float[Array, "ensemble sample"] | None = None


Penalty = Callable[[GradientStep], Array]
"""A slot's value per sample, `[sample]` or, for critics, `[ensemble, sample]`; 0 changes nothing."""


class Auxiliary(NamedTuple):
    """Models that a method trains beside its actor and critics, one step after each step of the critics.

    Attributes:
        init: `(key, example) -> state`; `example` is a `Transition` with actions and one leading axis.
        update: `(state, step) -> (state, notes, metrics)`: `notes` is handed on to `actor_penalty`.
    """

    init: Callable[[PRNGKeyArray, Transition], PyTree]
    update: Callable[[PyTree, GradientStep], tuple[PyTree, PyTree, dict[str, Array]]]


class Slots(NamedTuple):
    """What a method puts into an actor-critic; see `rlx.algorithms.td3.learner` and `rlx.algorithms.sac.learner`.

    Attributes:
        target_penalty: taken from the value of the next action `[sample]`.
        critic_penalty: added to the critics' loss, `[sample]` or `[ensemble, sample]`.
        actor_penalty: added to the actor's loss `[sample]`.
        auxiliary: further models.
    """

    target_penalty: Penalty | None = None
    critic_penalty: Penalty | None = None
    actor_penalty: Penalty | None = None
    auxiliary: Auxiliary | None = None


def combined(first: Slots, *others: Slots) -> Slots:
    """The slots of several methods at once: penalties are added, models trained side by side.

    Each method sees its own `auxiliary`, `penalty` and `notes` in a `GradientStep`; the state of the models is a tuple.
    The first draws the random numbers that it would draw alone.
    """
    if not others:
        return first
    parts = (first, *others)

    def own(key: PRNGKeyArray, i: int) -> PRNGKeyArray:
        return jax.random.fold_in(key, i) if i else key

    def seen_by(step: GradientStep, i: int) -> GradientStep:
        mine = {name: getattr(step, name) for name in ("auxiliary", "penalty", "notes")}
        mine = {name: None if values is None else values[i] for name, values in mine.items()}
        return step._replace(key=own(step.key, i), **mine)

    def each(name: str) -> Penalty | None:
        """What all of them give, None for one that has no such slot; None where none has."""
        slots = [getattr(part, name) for part in parts]
        if not any(slots):
            return None
        return lambda step: tuple(slot and slot(seen_by(step, i)) for i, slot in enumerate(slots))

    def total(name: str) -> Penalty | None:
        given = each(name)
        return None if given is None else lambda step: jax.tree.reduce(jnp.add, given(step))

    def init(key: PRNGKeyArray, example: Transition) -> tuple:
        return tuple(x and x.init(own(key, i), example) for i, x in enumerate(models))

    def update(states: tuple, step: GradientStep) -> tuple[tuple, tuple, dict[str, Array]]:
        updated = [
            (None, None, {}) if x is None else x.update(states[i], seen_by(step, i)) for i, x in enumerate(models)
        ]
        states, notes, metrics = zip(*updated)
        return states, notes, {name: value for measured in metrics for name, value in measured.items()}

    models = [part.auxiliary for part in parts]
    return Slots(
        target_penalty=total("target_penalty"),
        # The critics' objective adds them itself, since their shapes may differ and each method sees its own.
        critic_penalty=each("critic_penalty"),
        actor_penalty=total("actor_penalty"),
        auxiliary=Auxiliary(init, update) if any(models) else None,
    )


ENSEMBLE_VALUES = {
    "min": lambda q: jnp.min(q, axis=0),
    "mean": lambda q: jnp.mean(q, axis=0),
    "first": lambda q: q[0],
}
"""What an actor may maximize of the critics' values `[ensemble, *batch]`."""


def minibatches(batch: Transition, count: int) -> list[Transition]:
    """The minibatches that lie one after the other along the leading axis of a batch.

    Raises:
        ValueError: `count` does not divide the batch.
    """
    size = batch.reward.shape[0]
    if size % count:
        raise ValueError(f"an update takes {count} minibatches of one size, got a batch of {size}")
    parts = jax.tree.map(lambda x: x.reshape(count, size // count, *x.shape[1:]), batch)
    return [spread_over_devices(jax.tree.map(lambda x: x[i], parts)) for i in range(count)]


def first_member(params: PyTree) -> PyTree:
    """The parameters of the first member of an ensemble, an ensemble of one."""
    return jax.tree.map(lambda x: x[:1], params)


def polyak(params: PyTree, target_params: PyTree, tau: Scalar) -> PyTree:
    """θ̄ ← τ·θ + (1 − τ)·θ̄."""
    return jax.tree.map(lambda new, old: old + tau * (new - old), params, target_params)


def descend(
    optimizer: optax.GradientTransformation,
    objective: Callable[[PyTree], tuple[Array, Any]],
    params: PyTree,
    optimizer_state: PyTree,
) -> tuple[PyTree, PyTree, Any]:
    """One step down the gradient of `objective(params) -> (loss, aux)`.

    Returns:
        Parameters, optimizer state, and `aux`.
    """
    gradient, aux = jax.grad(objective, has_aux=True)(params)
    updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
    return optax.apply_updates(params, updates), optimizer_state, aux


def improve(
    state: ActorCriticState,
    name: str,
    optimizer: optax.GradientTransformation,
    objective: Callable[[PyTree], tuple[Array, Any]],
) -> tuple[ActorCriticState, Any]:
    """One step of the part `name` of the parameters down the gradient of `objective(part) -> (loss, aux)`."""
    params, optimizer_state, aux = descend(optimizer, objective, state.params[name], state.optimizer_state[name])
    return state._replace(
        params=state.params | {name: params}, optimizer_state=state.optimizer_state | {name: optimizer_state}
    ), aux


def critic_objective(critic: Network, seen: GradientStep, penalty: Penalty | None, key: PRNGKeyArray):
    """Σ_i mean (Q_i(s, a) − y)² + penalty, as a function of the critics' parameters that `improve` takes.

    Args:
        critic: ensemble of action values.
        seen: with the minibatch and the target y.
        penalty: the slot, or None; it may give several arrays in a tuple, whose sizes are added.
        key: random key of the slot.

    Returns:
        `params -> (loss, (metrics, penalty))`.
    """

    def objective(params: PyTree):
        q = critic.apply(params, seen.batch.observation, seen.batch.action)
        loss = jnp.sum(jnp.mean(squared_td(q, seen.target), axis=-1))
        metrics = {"critic_loss": loss, "q": jnp.mean(q), "target": jnp.mean(seen.target)}
        if penalty is None:
            return loss, (metrics, None)
        now = seen._replace(critic=partial(critic.apply, params), critic_params=params, q=q, key=key)
        value = penalty(now)
        of_each = jax.tree.map(lambda x: jnp.sum(jnp.mean(x, axis=-1)), value)
        metrics["critic_penalty"] = jax.tree.reduce(jnp.add, of_each)
        return loss + metrics["critic_penalty"], (metrics, value)

    return objective


def action_gradient(
    critic: Network, params: PyTree, observation: PyTree, action: Float[Array, "*batch action"]
) -> Float[Array, "ensemble *batch action"]:
    """∇_a Q_i(s, a) of every member of an ensemble, at the cost of one backward pass; carries the gradient.

    Args:
        critic: an `action_critic`, whose parameters have the leading axis `[ensemble]`.
        params: its parameters.
        observation: s.
        action: a.
    """

    def of_member(member: PyTree) -> Array:
        alone = jax.tree.map(lambda x: x[None], member)
        return jax.grad(lambda a: jnp.sum(critic.apply(alone, observation, a)))(action)

    return jax.vmap(of_member)(params)
