"""Proximal policy optimization, with every choice a slot.

References:
    Schulman, Wolski, Dhariwal, Radford, Klimov (2017). Proximal Policy Optimization Algorithms. arXiv:1707.06347.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from rlx import controllers, diagnostics, returns
from rlx.algorithms.bootstrap import rollout_values
from rlx.algorithms.learner import Learner, Transition
from rlx.algorithms.shuffle import minibatch_positions, taken
from rlx.algorithms.weighted_cloning import action_log_prob
from rlx.losses import policy as policy_losses
from rlx.losses import value as value_losses
from rlx.policies import Network
from rlx.regularizers.divergence import kl_estimate
from rlx.types import Scalar


class PPOState(NamedTuple):
    """Everything that PPO learns.

    Attributes:
        params: `{"torso", "policy", "critic"}` parameters (`torso` is empty without one).
        optimizer_state: state of the optimizer.
        return_scale: running scale of the discounted return, or None.
        kl_controller: state of the adaptive KL coefficient, or None.
        anchor: state of the proximal policy's parameters, or None.
        step: gradient steps taken.
    """

    params: dict[str, PyTree]
    optimizer_state: PyTree
    return_scale: PyTree
    kl_controller: PyTree
    anchor: PyTree
    step: Int[Array, ""]


class Minibatch(NamedTuple):
    """What a surrogate, a value loss and a regularizer see; arrays have one leading axis `[sample]`.

    Attributes:
        observation: observations.
        action: *raw* actions (before squashing).
        behavior_log_prob: log-probability under the policy that acted.
        behavior_value: value estimate when the batch was collected.
        advantage: normalized advantage.
        target: value target.
        log_prob: log-probability under the policy in training (carries the gradient).
        value: value estimate in training (carries the gradient).
        entropy: entropy of the policy in training (carries the gradient).
        distribution: the `ActionDistribution` in training.
        proximal_log_prob: log-probability under the anchor, a constant; None without one.
        step: gradient steps taken so far (for schedules).
        key: random key of this gradient step.
    """

    observation: PyTree
    action: Array
    behavior_log_prob: Float[Array, " sample"]
    behavior_value: Float[Array, " sample"]
    advantage: Float[Array, " sample"]
    target: Float[Array, " sample"]
    log_prob: Float[Array, " sample"] | None = None
    value: Float[Array, " sample"] | None = None
    entropy: Float[Array, " sample"] | None = None
    distribution: Any = None
    proximal_log_prob: Float[Array, " sample"] | None = None
    step: Int[Array, ""] | None = None
    key: PRNGKeyArray | None = None


PerSample = Callable[[Minibatch], Float[Array, " sample"]]


class Torso(NamedTuple):
    """What policy and critic see of experience: PPO with a memory differs from PPO without one in this alone.

    Attributes:
        init: `(key, observation) -> params`, of one observation.
        step: `(params, memory, observation) -> (memory, features)`; leading axes are free.
        recall: `(params, batch) -> (memory, next_memory)`, each `[time, env, ...]`: what is remembered where the
            observations of a rollout are seen, and where those that its steps reached are.
        parts: `(batch, minibatch) -> parts`, leaves `[time, env, ...]` as those of the minibatch: what is shuffled.
            Where whole sequences are, their time is a further axis, and the first one has the length 1.
        open: `part -> minibatch` with the one leading axis `[sample]`.
        features: `(params, part) -> features` of the samples of that minibatch.
        memory: `count -> memory` with which so many episodes begin; None without memory.
    """

    init: Callable[[PRNGKeyArray, PyTree], PyTree]
    step: Callable[[PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]
    recall: Callable[[PyTree, Transition], tuple[PyTree, PyTree]]
    parts: Callable[[Transition, Minibatch], PyTree]
    open: Callable[[PyTree], Minibatch]
    features: Callable[[PyTree, PyTree], PyTree]
    memory: Callable[[int], PyTree] | None = None


def without_memory(network: Network | None) -> Torso:
    """A network of single observations as a `Torso`; None leaves observations as they are."""
    apply = (lambda params, observation: observation) if network is None else network.apply
    return Torso(
        init=(lambda key, observation: {}) if network is None else network.init,
        step=lambda params, memory, observation: (memory, apply(params, observation)),
        recall=lambda params, batch: (None, None),
        parts=lambda batch, minibatch: minibatch,
        open=lambda part: part,
        features=lambda params, part: apply(params, part.observation),
    )


def clipped_surrogate(clip: Scalar | optax.Schedule = 0.2) -> PerSample:
    """The clipped surrogate of PPO; `clip` is a number or a schedule of the gradient step."""

    def surrogate(batch: Minibatch) -> Float[Array, " sample"]:
        epsilon = _at(clip, batch.step)
        return policy_losses.clipped_surrogate(
            batch.log_prob, batch.behavior_log_prob, batch.advantage, clip_low=epsilon, clip_high=epsilon
        )

    return surrogate


def squared_value_loss(batch: Minibatch) -> Float[Array, " sample"]:
    """½(V − G)²."""
    return value_losses.squared_error(batch.value, batch.target)


def clipped_value_loss(clip: Scalar = 0.2) -> PerSample:
    """The clipped value loss of PPO's reference implementation."""
    return lambda batch: value_losses.clipped_value(batch.value, batch.behavior_value, batch.target, clip=clip)


def negative_entropy(batch: Minibatch) -> Float[Array, " sample"]:
    """−H[π(·|s)]: with a positive coefficient, the entropy bonus."""
    return -batch.entropy


def behavior_kl(batch: Minibatch) -> Float[Array, " sample"]:
    """KL(behavior ‖ policy) by the unbiased, non-negative estimate r − 1 − log r, r = π/behavior."""
    # Samples are the behavior's: the estimate with the roles exchanged, so that the gradient is the policy's.
    log_ratio = batch.log_prob - batch.behavior_log_prob
    return kl_estimate(-log_ratio, jnp.zeros_like(log_ratio))


def kl_from_behavior(behavior: Any, policy: Any, batch: Minibatch) -> Float[Array, " sample"]:
    """KL(behavior ‖ policy) of two distributions of actions in closed form, or by `behavior_kl` where none is known."""
    exact = behavior.kl(policy) if hasattr(behavior, "kl") else None
    return behavior_kl(batch._replace(log_prob=policy.log_prob(batch.action))) if exact is None else exact


def learner(
    policy: Network,
    critic: Network,
    optimizer: optax.GradientTransformation,
    *,
    torso: Network | Torso | None = None,
    discount: Scalar = 0.99,
    lambda_: Scalar = 0.95,
    update_epochs: int = 4,
    num_minibatches: int = 8,
    clip: Scalar | optax.Schedule = 0.2,
    surrogate: PerSample | None = None,
    value_loss: PerSample = squared_value_loss,
    value_coefficient: Scalar = 0.5,
    regularizers: Mapping[str, tuple[Scalar, PerSample]] = MappingProxyType({}),
    advantage_estimator: Callable[..., Array] = returns.gae,
    normalize_advantage: str = "minibatch",
    normalize_reward: bool = False,
    reward_scale: Scalar = 1.0,
    target_kl: Scalar | None = None,
    adaptive_kl: controllers.Controller | None = None,
    initial_kl_coefficient: Scalar = 1.0,
    adaptive_learning_rate: controllers.Controller | None = None,
    anchor: controllers.Controller | None = None,
) -> Learner:
    """PPO as a `Learner`.

    The objective, each term named in the metrics, is::

        mean(surrogate) + value_coefficient · mean(value_loss) + Σ coefficient · mean(regularizer)

    Every number may be a traced array, so a sweep is a `vmap` over them; sizes, counts and names are static.

    Args:
        policy: `init`/`apply` of the policy; `apply` returns an `ActionDistribution`.
        critic: `init`/`apply` of the value function.
        optimizer: transformation of the gradient of `{"torso", "policy", "critic"}`; gradient clipping and
            schedules belong into it.
        torso: features shared by policy and critic, which then see features instead of observations; a `Torso` may
            remember what was seen before.
        discount: γ.
        lambda_: λ of the advantage estimator.
        update_epochs: passes over the rollout (static).
        num_minibatches: minibatches of each pass; divides `time · env`, or `env` where a torso
            remembers, since sequences stay whole (static).
        clip: ε of the default surrogate and of the clip fraction that is reported; a number or a schedule of the step.
        surrogate: per-sample policy loss; the default is `clipped_surrogate(clip)`.
        value_loss: per-sample value loss.
        value_coefficient: weight of the value loss.
        regularizers: name -> (coefficient, per-sample penalty), for example `{"entropy": (0.01, negative_entropy)}`.
        advantage_estimator: called as `rlx.returns.gae` is.
        normalize_advantage: `"minibatch"`, `"batch"` or `"none"` (static).
        normalize_reward: divide rewards by the running standard deviation of the discounted return.
        reward_scale: multiplies rewards after that.
        target_kl: stop the gradient steps of an update once the approximate KL of a minibatch exceeds 1.5 times this.
        adaptive_kl: a controller (`rlx.controllers.adaptive_kl`) that sets the coefficient of a KL penalty.
        initial_kl_coefficient: where that coefficient starts.
        adaptive_learning_rate: a controller (`rlx.controllers.kl_adaptive_learning_rate`) that moves the learning rate
            before every gradient step but the first of an update, by the mean KL(behavior ‖ policy) of its minibatch.
            The optimizer holds the rate as `optax.inject_hyperparams` does.
        anchor: a controller of parameters (`rlx.controllers.ewma_params`) whose policy surrogates see as
            `proximal_log_prob`; it takes in the parameters before every gradient step.

    Returns:
        A `Learner` whose state is a `PPOState`.

    Raises:
        ValueError: an unknown `normalize_advantage`; counts below one; minibatches that do not divide the batch; an
            optimizer whose learning rate cannot be moved, where it is adaptive.
    """
    if normalize_advantage not in ("minibatch", "batch", "none"):
        raise ValueError(f"normalize_advantage must be minibatch, batch or none; got {normalize_advantage!r}")
    for name, count in (("update_epochs", update_epochs), ("num_minibatches", num_minibatches)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    surrogate = clipped_surrogate(clip) if surrogate is None else surrogate
    return_scale = controllers.running_return_scale(discount=discount)
    torso = torso if isinstance(torso, Torso) else without_memory(torso)

    def init(key: PRNGKeyArray, example: Transition) -> PPOState:
        torso_key, policy_key, critic_key = jax.random.split(key, 3)
        one = jax.tree.map(lambda x: x[0], example.observation)
        params = {"torso": torso.init(torso_key, one)}
        _, x = torso.step(params["torso"], example.memory, example.observation)
        x = jax.tree.map(lambda x: x[0], x)
        params |= {"policy": policy.init(policy_key, x), "critic": critic.init(critic_key, x)}
        optimizer_state = optimizer.init(params)
        if adaptive_learning_rate is not None:
            _check_movable(optimizer_state)
        return PPOState(
            params=params,
            optimizer_state=optimizer_state,
            return_scale=return_scale.init(example.reward) if normalize_reward else None,
            kl_controller=adaptive_kl.init(initial_kl_coefficient) if adaptive_kl is not None else None,
            anchor=anchor.init(_policy_params(params)) if anchor is not None else None,
            step=jnp.zeros((), jnp.int32),
        )

    def act(state: PPOState, observation: PyTree, key: PRNGKeyArray, memory: PyTree = None):
        memory, x = torso.step(state.params["torso"], memory, observation)
        distribution = policy.apply(state.params["policy"], x)
        raw = distribution.sample(key)
        return distribution.action(raw), {"raw_action": raw, "log_prob": distribution.log_prob(raw)}, memory

    def mode(state: PPOState, observation: PyTree, memory: PyTree = None) -> tuple[Array, PyTree]:
        memory, x = torso.step(state.params["torso"], memory, observation)
        distribution = policy.apply(state.params["policy"], x)
        return distribution.action(distribution.mode()), memory

    def log_prob(state: PPOState, observation: PyTree, action: Array) -> Array:
        _, x = torso.step(state.params["torso"], None, observation)
        return action_log_prob(policy.apply(state.params["policy"], x), action)

    def distribution_of(params: dict[str, PyTree], part: PyTree) -> Any:
        return policy.apply(params["policy"], torso.features(params["torso"], part))

    def objective(params: PyTree, part: PyTree, batch: Minibatch, kl_coefficient: Array | None, entropy_key):
        x = torso.features(params["torso"], part)
        distribution = policy.apply(params["policy"], x)
        batch = batch._replace(
            log_prob=distribution.log_prob(batch.action),
            value=critic.apply(params["critic"], x),
            entropy=distribution.entropy(entropy_key),
            distribution=distribution,
        )
        terms = {"policy_loss": jnp.mean(surrogate(batch))}
        terms["value_loss"] = value_coefficient * jnp.mean(value_loss(batch))
        for name, (coefficient, regularizer) in regularizers.items():
            terms[f"{name}_loss"] = coefficient * jnp.mean(regularizer(batch))
        if kl_coefficient is not None:
            terms["kl_loss"] = kl_coefficient * jnp.mean(behavior_kl(batch))
        epsilon = _at(clip, batch.step)
        measures = {
            "entropy": jnp.mean(batch.entropy),
            "approximate_kl": diagnostics.approximate_kl(batch.log_prob, batch.behavior_log_prob),
            "ratio_max": jnp.exp(jnp.max(batch.log_prob - batch.behavior_log_prob)),
            "clip_fraction": diagnostics.clip_fraction(
                batch.log_prob, batch.behavior_log_prob, clip_low=epsilon, clip_high=epsilon
            ),
        }
        return sum(terms.values()), {**terms, **measures}

    def gradient_step(state: PPOState, part: PyTree, kl_coefficient, key: PRNGKeyArray):
        # What a surrogate draws and what the estimate of the entropy draws have nothing to do with each other.
        entropy_key, slot_key = jax.random.split(key)
        batch = torso.open(part)._replace(step=state.step, key=slot_key)
        if anchor is not None:
            proximal, anchor_state = anchor.update(state.anchor, _policy_params(state.params))
            log_prob = distribution_of(proximal, part).log_prob(batch.action)
            batch = batch._replace(proximal_log_prob=log_prob)
            state = state._replace(anchor=anchor_state)
        if normalize_advantage == "minibatch":
            batch = batch._replace(advantage=_standardize(batch.advantage))
        gradient, metrics = jax.grad(objective, has_aux=True)(state.params, part, batch, kl_coefficient, entropy_key)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer_state, state.params)
        metrics["gradient_norm"] = optax.tree.norm(gradient)
        return state._replace(
            params=optax.apply_updates(state.params, updates),
            optimizer_state=optimizer_state,
            step=state.step + 1,
        ), metrics

    def adapted(state: PPOState, behavior: dict[str, PyTree], part: PyTree, has_moved: Array) -> PPOState:
        """The learning rate by how far the policy has moved since it acted, which before it has is but rounding."""
        kl = kl_from_behavior(distribution_of(behavior, part), distribution_of(state.params, part), torso.open(part))
        # All that the controller remembers is the rate itself.
        rate = adaptive_learning_rate.init(_learning_rate(state.optimizer_state))
        rate, _ = adaptive_learning_rate.update(rate, jnp.where(has_moved, jnp.mean(kl), 0.0))
        return state._replace(optimizer_state=optax.tree.set(state.optimizer_state, learning_rate=rate))

    def update(state: PPOState, batch: Transition, key: PRNGKeyArray):
        time, env = batch.reward.shape
        if (size := env if torso.memory is not None else time * env) % num_minibatches:
            parts = f"{env} sequences" if torso.memory is not None else f"{time} x {env} = {size} samples"
            raise ValueError(f"num_minibatches must divide the {parts} of a rollout, got {num_minibatches}")
        reward, scale_state = batch.reward, state.return_scale
        if normalize_reward:
            done = batch.terminated | batch.truncated
            reward, scale_state = return_scale.update(scale_state, reward, done)

        memory, next_memory = torso.recall(state.params["torso"], batch)
        value, next_value = rollout_values(
            lambda seen: critic.apply(state.params["critic"], torso.step(state.params["torso"], *seen)[1]),
            (memory, batch.observation),
            (next_memory, batch.next_observation),
            batch.terminated,
            batch.truncated,
        )
        advantage = advantage_estimator(
            reward_scale * reward,
            discount * (1.0 - batch.terminated),
            value,
            next_value,
            lambda_=lambda_,
            truncation=batch.truncated,
        )
        target = advantage + value
        explained_variance = diagnostics.explained_variance(value, target)
        if normalize_advantage == "batch":
            advantage = _standardize(advantage)

        raw_action, log_prob = batch.extras["raw_action"], batch.extras["log_prob"]
        parts = torso.parts(batch, Minibatch(batch.observation, raw_action, log_prob, value, advantage, target))
        kl_coefficient = None if adaptive_kl is None else state.kl_controller.coefficient
        behavior = state.params

        def minibatch_step(carry, inputs):
            state, active = carry
            index, position, key = inputs
            part = jax.tree.map(lambda x: taken(x, position), parts)
            ready = state if adaptive_learning_rate is None else adapted(state, behavior, part, index > 0)
            new_state, metrics = gradient_step(ready, part, kl_coefficient, key)
            if target_kl is not None:
                active &= metrics["approximate_kl"] <= 1.5 * target_kl
                new_state = jax.tree.map(lambda new, old: jnp.where(active, new, old), new_state, state)
                metrics["update_fraction"] = active.astype(jnp.float32)
            return (new_state, active), metrics

        shuffle_key, entropy_key = jax.random.split(key)
        rows, columns = jax.tree.leaves(parts)[0].shape[:2]
        position = minibatch_positions(
            shuffle_key, rows, columns, num_minibatches=num_minibatches, passes=update_epochs
        )
        inputs = (jnp.arange(len(position)), position, jax.random.split(entropy_key, len(position)))
        (state, _), metrics = jax.lax.scan(minibatch_step, (state, jnp.array(True)), inputs)

        # `ratio_max` warns of a single sample that runs away, which a mean would hide.
        ratio_max = jnp.max(metrics.pop("ratio_max"))
        metrics = jax.tree.map(jnp.mean, metrics) | {
            "explained_variance": explained_variance,
            "ratio_max": ratio_max,
        }
        learning_rate = _learning_rate(state.optimizer_state)
        if learning_rate is not None:
            metrics["learning_rate"] = learning_rate
        if adaptive_kl is not None:
            kl_coefficient, kl_state = adaptive_kl.update(state.kl_controller, metrics["approximate_kl"])
            state = state._replace(kl_controller=kl_state)
            metrics["kl_coefficient"] = kl_coefficient
        return state._replace(return_scale=scale_state), metrics

    if torso.memory is not None:
        return Learner(init=init, act=act, mode=mode, update=update, memory=torso.memory)
    return Learner(
        init=init,
        act=lambda state, observation, key: act(state, observation, key)[:2],
        mode=lambda state, observation: mode(state, observation)[0],
        update=update,
        log_prob=log_prob,
    )


def _policy_params(params: dict[str, PyTree]) -> dict[str, PyTree]:
    return {name: params[name] for name in ("torso", "policy")}


def _learning_rate(optimizer_state: PyTree) -> Array | None:
    """The learning rate in force, where the optimizer's state holds it."""
    # A schedule keeps a state of the same name, which is no array.
    return optax.tree.get(optimizer_state, "learning_rate", filtering=lambda _, value: hasattr(value, "dtype"))


def _check_movable(optimizer_state: PyTree) -> None:
    found = [value for _, value in optax.tree.get_all_with_path(optimizer_state, "learning_rate")]
    if len(found) != 1 or not hasattr(found[0], "dtype"):
        raise ValueError(
            "adaptive_learning_rate needs an optimizer whose state holds a learning_rate that no schedule sets, such "
            f"as optax.inject_hyperparams(optax.adam)(learning_rate=1e-3); got {'a schedule' if found else 'none'}"
        )


def _at(value: Scalar | optax.Schedule, step: Array) -> Scalar:
    return value(step) if callable(value) else value


def _standardize(x: Array) -> Array:
    return (x - jnp.mean(x)) / (jnp.std(x) + 1e-8)
