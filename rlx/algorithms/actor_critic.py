"""What off-policy actor-critics share: their state, steps of their parts, and slots for the methods built on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from rlx.algorithms.learner import Transition, spread_over_devices
from rlx.losses.value import ensemble_target, squared_td
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
    to `q`, `auxiliary` those up to `penalty`, and the critics after their step; what the actor's slots see beside, if
    the learner takes the actor's step first as SAC does, is the minibatch, `action` and `log_prob`.

    Attributes:
        batch: the minibatch; its `extras` hold what the sampler added (`next_action`, `index` …).
        state: of the learner. Its `params` carry the gradient of what is in training: those of the critics in
            `critic_penalty`, those of the actor in `actor_loss` and `actor_penalty`.
        key: random key of this slot.
        next_action: action at the next observation that the target bootstraps from, a constant.
        target: target y of the critics, a constant.
        q: the critics' values `[ensemble, sample]` of the data's actions, carry the gradient.
        penalty: what `critic_penalty` gave, a constant.
        notes: what the auxiliary models noted for the actor, a constant.
        action: the policy's action, carries the gradient.
        log_prob: its log-probability, carries the gradient; None of a deterministic policy.
    """

    batch: Transition
    state: ActorCriticState
    key: PRNGKeyArray | None = None
    next_action: Array | None = None
    target: Float[Array, " sample"] | None = None
    q: Float[Array, "ensemble sample"] | None = None
    penalty: Array | None = None
    notes: PyTree = None
    action: Array | None = None
    log_prob: Float[Array, " sample"] | None = None


Penalty = Callable[[GradientStep], Array]
"""A slot's value per sample, `[sample]` or, for critics, `[ensemble, sample]`; as a penalty 0 changes nothing."""

NextValue = Callable[[ActorCriticState, Transition, PRNGKeyArray], tuple[Array, Array]]
"""`(state, batch, key) -> (value, next_action)`: the value of the next observation `[sample]`, by which action."""


class Auxiliary(NamedTuple):
    """Models that a method trains beside its actor and critics, one step after each step of the critics.

    Attributes:
        init: `(key, example) -> state`; `example` is a `Transition` with actions and one leading axis.
        update: `(state, step) -> (state, notes, metrics)`: `notes` is handed on to the actor's slots.
    """

    init: Callable[[PRNGKeyArray, Transition], PyTree]
    update: Callable[[PyTree, GradientStep], tuple[PyTree, PyTree, dict[str, Array]]]


class Slots(NamedTuple):
    """What a method puts into TD3 or SAC, as `added=(Slots(…),)` of their learners.

    Attributes:
        next_value: in place of the learner's own value of the next observation.
        target_penalty: taken from the value of the next observation `[sample]`.
        critic_penalty: added to the critics' loss, `[sample]` or `[ensemble, sample]`.
        actor_loss: in place of the learner's own loss of the actor `[sample]`.
        actor_penalty: added to the actor's loss `[sample]`.
        auxiliary: further models.
    """

    next_value: NextValue | None = None
    target_penalty: Penalty | None = None
    critic_penalty: Penalty | None = None
    actor_loss: Penalty | None = None
    actor_penalty: Penalty | None = None
    auxiliary: Auxiliary | None = None


def combined(*parts: Slots) -> Slots:
    """The slots of several methods at once: penalties are added, models trained side by side.

    Each method sees its own auxiliary models, `penalty` and `notes` in a `GradientStep`; the state of the models is a
    tuple. The first draws the random numbers that it would draw alone.

    Raises:
        ValueError: what is no `Slots`; two methods that put something in the same place.
    """
    for part in parts:
        if not isinstance(part, Slots):
            raise ValueError(f"added must be a tuple of rlx.algorithms.actor_critic.Slots, got {part!r:.60} in it")
    if len(parts) < 2:
        return parts[0] if parts else Slots()

    def own(key: PRNGKeyArray, i: int) -> PRNGKeyArray:
        return jax.random.fold_in(key, i) if i else key

    def own_state(state: ActorCriticState, i: int) -> ActorCriticState:
        return state if state.auxiliary is None else state._replace(auxiliary=state.auxiliary[i])

    def seen_by(step: GradientStep, i: int) -> GradientStep:
        penalty, notes = (None if x is None else x[i] for x in (step.penalty, step.notes))
        return step._replace(key=own(step.key, i), state=own_state(step.state, i), penalty=penalty, notes=notes)

    def each(name: str) -> Penalty | None:
        """What all of them give, None for one that has no such slot; None where none has."""
        slots = [getattr(part, name) for part in parts]
        if not any(slots):
            return None
        return lambda step: tuple(slot and slot(seen_by(step, i)) for i, slot in enumerate(slots))

    def total(name: str) -> Penalty | None:
        given = each(name)
        return None if given is None else lambda step: jax.tree.reduce(jnp.add, given(step))

    def only(name: str) -> tuple[int, Callable | None]:
        """Which of them gives what there can be one of, and this."""
        given = [(i, getattr(part, name)) for i, part in enumerate(parts) if getattr(part, name) is not None]
        if len(given) > 1:
            raise ValueError(f"a learner has one {name}, got {len(given)} from the methods that are added")
        return given[0] if given else (0, None)

    def init(key: PRNGKeyArray, example: Transition) -> tuple:
        return tuple(x and x.init(own(key, i), example) for i, x in enumerate(models))

    def update(states: tuple, step: GradientStep) -> tuple[tuple, tuple, dict[str, Array]]:
        updated = [
            (None, None, {}) if x is None else x.update(states[i], seen_by(step, i)) for i, x in enumerate(models)
        ]
        states, notes, metrics = zip(*updated)
        return states, notes, {name: value for measured in metrics for name, value in measured.items()}

    models = [part.auxiliary for part in parts]
    (valuing, next_value), (acting, actor_loss) = only("next_value"), only("actor_loss")
    return Slots(
        next_value=next_value and (lambda state, batch, key: next_value(own_state(state, valuing), batch, key)),
        target_penalty=total("target_penalty"),
        # The critics' objective adds them itself, since their shapes may differ and each method sees its own.
        critic_penalty=each("critic_penalty"),
        actor_loss=actor_loss and (lambda step: actor_loss(seen_by(step, acting))),
        actor_penalty=total("actor_penalty"),
        auxiliary=Auxiliary(init, update) if any(models) else None,
    )


def initial_state(
    params: dict[str, PyTree],
    optimizers: Mapping[str, optax.GradientTransformation],
    *,
    targets: tuple[str, ...],
    auxiliary: PyTree = None,
) -> ActorCriticState:
    """The state before any step, of whose parameters `targets` have a slowly moving copy."""
    return ActorCriticState(
        params=params,
        target_params={name: params[name] for name in targets},
        optimizer_state={name: optimizer.init(params[name]) for name, optimizer in optimizers.items()},
        auxiliary=auxiliary,
        step=jnp.zeros((), jnp.int32),
    )


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


def first_value(critic: Network, step: GradientStep) -> Float[Array, " sample"]:
    """Q_1(s, π(s)); a critic whose value does not count would cost as much as the one that does."""
    first = jax.tree.map(lambda x: x[:1], step.state.params["critic"])
    return critic.apply(first, step.batch.observation, step.action)[0]


def polyak(params: PyTree, target_params: PyTree, tau: Scalar) -> PyTree:
    """θ̄ ← τ·θ + (1 − τ)·θ̄."""
    return jax.tree.map(lambda new, old: old + tau * (new - old), params, target_params)


def move_targets(state: ActorCriticState, tau: Scalar) -> ActorCriticState:
    """The state with every target a step of `tau` nearer to what it follows."""
    moving = {name: state.params[name] for name in state.target_params}
    return state._replace(target_params=polyak(moving, state.target_params, tau))


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


def improve_actor(
    optimizer: optax.GradientTransformation,
    act: Callable[[PyTree], tuple[Array, Array | None]],
    loss: Penalty,
    slots: Slots,
    step: GradientStep,
) -> tuple[ActorCriticState, dict[str, Array]]:
    """One step of the actor down the gradient of mean (loss + actor_penalty).

    Args:
        optimizer: transformation of the actor's gradient.
        act: `params -> (action, log_prob)`, what the actor does; `log_prob` is None of a deterministic policy.
        loss: the learner's own.
        slots: of the methods that are added.
        step: with the minibatch, the state, and the key of the slots.

    Returns:
        State, and metrics.
    """
    loss = loss if slots.actor_loss is None else slots.actor_loss

    def objective(params: PyTree):
        action, log_prob = act(params)
        now = step._replace(state=training(step.state, "actor", params), action=action, log_prob=log_prob)
        metrics = {"actor_loss": jnp.mean(loss(now))}
        if slots.actor_penalty is not None:
            metrics["actor_penalty"] = jnp.mean(slots.actor_penalty(now))
        return sum(metrics.values()), metrics

    return improve(step.state, "actor", optimizer, objective)


def improve_critics(
    critic: Network,
    optimizer: optax.GradientTransformation,
    next_value: NextValue,
    slots: Slots,
    state: ActorCriticState,
    batch: Transition,
    key: PRNGKeyArray,
    *,
    discount: Scalar,
    reward_scale: Scalar,
) -> tuple[GradientStep, dict[str, Array]]:
    """One step of the critics, and then one of the models that the slots train beside them::

        y   = r + γ·(1 − terminated)·(next_value − target_penalty)
        L_Q = Σ_i mean (Q_i(s, a) − y)² + critic_penalty

    Args:
        critic: ensemble of action values.
        optimizer: transformation of the critics' gradient.
        next_value: the learner's own.
        slots: of the methods that are added.
        state: of the learner.
        batch: the minibatch.
        key: random key.
        discount: γ.
        reward_scale: multiplies rewards.

    Returns:
        What is known after the step, with the state, and metrics.
    """
    action_key, target_key, penalty_key, auxiliary_key = jax.random.split(key, 4)
    next_value = next_value if slots.next_value is None else slots.next_value
    value, next_action = next_value(state, batch, action_key)
    step = GradientStep(batch, state, next_action=jax.lax.stop_gradient(next_action))
    target = ensemble_target(
        reward_scale * batch.reward,
        discount * (1.0 - batch.terminated),
        value[None],
        penalty=0.0 if slots.target_penalty is None else slots.target_penalty(step._replace(key=target_key)),
    )
    step = step._replace(target=target)

    def objective(params: PyTree):
        q = critic.apply(params, batch.observation, batch.action)
        loss = jnp.sum(jnp.mean(squared_td(q, target), axis=-1))
        metrics = {"critic_loss": loss, "q": jnp.mean(q), "target": jnp.mean(target)}
        if slots.critic_penalty is None:
            return loss, (metrics, None)
        penalty = slots.critic_penalty(step._replace(state=training(state, "critic", params), key=penalty_key, q=q))
        # Those of several methods come in a tuple.
        of_each = jax.tree.map(lambda x: jnp.sum(jnp.mean(x, axis=-1)), penalty)
        metrics["critic_penalty"] = jax.tree.reduce(jnp.add, of_each)
        return loss + metrics["critic_penalty"], (metrics, penalty)

    improved, (metrics, penalty) = improve(state, "critic", optimizer, objective)
    step = step._replace(state=improved._replace(step=state.step + 1), penalty=penalty)
    if slots.auxiliary is not None:
        models, notes, measures = slots.auxiliary.update(state.auxiliary, step._replace(key=auxiliary_key))
        step = step._replace(state=step.state._replace(auxiliary=models), notes=notes)
        metrics |= measures
    return step, metrics


def training(state: ActorCriticState, name: str, params: PyTree) -> ActorCriticState:
    """The state with the parameters of a part that is in training."""
    return state._replace(params=state.params | {name: params})


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
