"""Soft actor-critic, and with its slots the offline methods that are built on it.

References:
    Haarnoja, Zhou, Abbeel, Levine (2018). Soft Actor-Critic: Off-Policy Maximum Entropy Deep Reinforcement Learning
    with a Stochastic Actor. arXiv:1801.01290.
    Haarnoja, Zhou, Hartikainen, Tucker, Ha, Tan, Kumar, Zhu, Gupta, Abbeel, Levine (2018). Soft Actor-Critic Algorithms
    and Applications. arXiv:1812.05905.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree

from rlx.algorithms.actor_critic import (
    ENSEMBLE_VALUES,
    ActorCriticState,
    Auxiliary,
    GradientStep,
    Penalty,
    Slots,
    combined,
    critic_objective,
    first_member,
    improve,
    polyak,
)
from rlx.algorithms.learner import Learner, Transition, spread_over_devices
from rlx.controllers import entropy_temperature_loss
from rlx.losses.policy import soft_value_maximization
from rlx.losses.value import ensemble_target
from rlx.policies import Network
from rlx.types import Scalar, check_choice


def learner(
    policy: Network,
    critic: Network,
    actor_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    temperature_optimizer: optax.GradientTransformation | None,
    *,
    discount: Scalar = 0.99,
    tau: Scalar = 0.005,
    initial_temperature: Scalar = 1.0,
    target_entropy: Scalar | None = None,
    reward_scale: Scalar = 1.0,
    backup_entropy: bool = True,
    target_actions: int = 1,
    actor_q: str = "min",
    target_penalty: Penalty | None = None,
    critic_penalty: Penalty | None = None,
    actor_penalty: Penalty | None = None,
    auxiliary: Auxiliary | None = None,
    added: Sequence[Slots] = (),
) -> Learner:
    """A SAC learner, on-line or from a dataset.

    One update is one step of temperature, policy and critics, in this order, then of the target critics::

        L_α = −log α · mean (log π(ã|s) + H̄),                      ã ~ π(·|s)
        L_π = mean α·log π(ã|s) − min_i Q_i(s, ã) + actor_penalty
        y   = r + γ·(1 − terminated)·(min_i Q̄_i(s', a') − α·log π(a'|s') − target_penalty),   a' ~ π(·|s')
        L_Q = Σ_i mean (Q_i(s, a) − y)² + critic_penalty

    The slots are functions of a `rlx.algorithms.actor_critic.GradientStep`. With a larger ensemble it is SAC-N, and
    EDAC with `ensemble_gradient_diversity` of `action_gradient` for a `critic_penalty`; with `conservative_q` CQL.

    Args:
        policy: network that gives an `ActionDistribution`, such as `rlx.policies.policy(space, kind="tanh")`.
        critic: ensemble of action values, such as `rlx.policies.action_critic`.
        actor_optimizer: transformation of the policy's gradient.
        critic_optimizer: transformation of the critics' gradient.
        temperature_optimizer: transformation of the gradient of log α; None keeps α where it starts.
        discount: γ.
        tau: how far the target critics move towards the critics in an update.
        initial_temperature: α at the start.
        target_entropy: H̄ in nats, of actions normalized to [−1, 1] where they have bounds, as the paper counts it
            whatever the bounds are; None: minus the number of their dimensions.
        reward_scale: multiplies rewards.
        backup_entropy: whether targets hold the entropy of the next action (static).
        target_actions: how many next actions are drawn, the best of which counts (static).
        actor_q: value that the actor maximizes: the `"min"` of the critics, the `"mean"` or that of the `"first"`
            (static).
        target_penalty: taken from the value of the next action `[sample]`.
        critic_penalty: added to the critics' loss, `[sample]` or `[ensemble, sample]`.
        actor_penalty: added to the actor's loss `[sample]`.
        auxiliary: further models, trained after each step of the critics. Their notes reach the next update only
            through their state, since the policy's step comes first.
        added: slots of further methods, which are added to these, such as `rlx.algorithms.bisimulation.slots`.

    Returns:
        A `Learner` whose state is an `ActorCriticState`.

    Raises:
        ValueError: an unknown `actor_q`; `target_actions` below one.
    """
    check_choice("actor_q", actor_q, tuple(ENSEMBLE_VALUES))
    if target_actions < 1:
        raise ValueError(f"target_actions must be at least 1, got {target_actions}")
    given = Slots(target_penalty, critic_penalty, actor_penalty, auxiliary)
    target_penalty, critic_penalty, actor_penalty, auxiliary = combined(given, *added)

    def init(key: PRNGKeyArray, example: Transition) -> ActorCriticState:
        policy_key, critic_key, auxiliary_key = jax.random.split(key, 3)
        one = jax.tree.map(lambda x: x[0], example.observation)
        params = {"actor": policy.init(policy_key, one)}
        distribution = policy.apply(params["actor"], example.observation)
        action = distribution.action(distribution.mode())
        params["critic"] = critic.init(critic_key, one, action[0])
        params["log_temperature"] = jnp.log(jnp.asarray(initial_temperature, action.dtype))
        optimizers = {"actor": actor_optimizer, "critic": critic_optimizer}
        if temperature_optimizer is not None:
            optimizers["log_temperature"] = temperature_optimizer
        return ActorCriticState(
            params=params,
            target_params={"critic": params["critic"]},
            optimizer_state={name: optimizer.init(params[name]) for name, optimizer in optimizers.items()},
            auxiliary=None if auxiliary is None else auxiliary.init(auxiliary_key, example._replace(action=action)),
            step=jnp.zeros((), jnp.int32),
        )

    def act(state: ActorCriticState, observation: PyTree, key: PRNGKeyArray):
        distribution = policy.apply(state.params["actor"], observation)
        return distribution.action(distribution.sample(key)), {}

    def mode(state: ActorCriticState, observation: PyTree) -> Array:
        distribution = policy.apply(state.params["actor"], observation)
        return distribution.action(distribution.mode())

    def sample(params: PyTree, observation: PyTree, key: PRNGKeyArray, count: int | None = None):
        """Reparameterized actions and their log-probabilities, several of each state along a new leading axis."""
        distribution = policy.apply(params, observation)
        shape = () if count is None else (count,)
        raw = distribution.base.rsample(key, shape)
        return distribution.action(raw), distribution.log_prob(raw)

    def seen_by(state: ActorCriticState, batch: Transition, key: PRNGKeyArray) -> GradientStep:
        return GradientStep(
            batch=batch,
            critic=partial(critic.apply, state.params["critic"]),
            critic_params=state.params["critic"],
            policy=partial(policy.apply, state.params["actor"]),
            step=state.step,
            auxiliary=state.auxiliary,
            key=key,
        )

    def temperature_step(state: ActorCriticState, batch: Transition, key: PRNGKeyArray):
        # The policy's step draws the same actions by the same key: the compiler computes them once.
        _, log_prob = sample(state.params["actor"], batch.observation, key)
        # Log-probabilities are those of actions in the environment's units; entropies are said of unit bounds.
        size = batch.action.shape[-1]
        log_prob += log_half_range(policy.apply(state.params["actor"], batch.observation), size)
        entropy = -jnp.mean(log_prob)
        if temperature_optimizer is None:
            return state, {"entropy": entropy}
        wanted = -size if target_entropy is None else target_entropy

        def objective(log_temperature: Array):
            return jnp.mean(entropy_temperature_loss(log_temperature, log_prob, target_entropy=wanted)), None

        state, _ = improve(state, "log_temperature", temperature_optimizer, objective)
        return state, {"entropy": entropy}

    def actor_step(state: ActorCriticState, batch: Transition, key: PRNGKeyArray, penalty_key: PRNGKeyArray):
        seen = seen_by(state, batch, penalty_key)
        temperature = jnp.exp(state.params["log_temperature"])
        counting = first_member(seen.critic_params) if actor_q == "first" else seen.critic_params

        def objective(params: PyTree):
            action, log_prob = sample(params, batch.observation, key)
            q = critic.apply(counting, batch.observation, action)
            value = ENSEMBLE_VALUES[actor_q](q)
            metrics = {"actor_loss": jnp.mean(soft_value_maximization(log_prob, value, temperature=temperature))}
            if actor_penalty is not None:
                now = seen._replace(policy=partial(policy.apply, params), action=action, log_prob=log_prob, q=q)
                metrics["actor_penalty"] = jnp.mean(actor_penalty(now))
            return sum(metrics.values()), metrics

        return improve(state, "actor", actor_optimizer, objective)

    def critic_step(state: ActorCriticState, batch: Transition, key: PRNGKeyArray):
        action_key, target_key, critic_key, auxiliary_key = jax.random.split(key, 4)
        temperature = jnp.exp(state.params["log_temperature"])
        next_actions, next_log_prob = sample(state.params["actor"], batch.next_observation, action_key, target_actions)
        next_q = jnp.min(critic.apply(state.target_params["critic"], batch.next_observation, next_actions), axis=0)
        best = jnp.argmax(next_q, axis=0, keepdims=True)
        next_log_prob = jnp.take_along_axis(next_log_prob, best, axis=0)[0]
        seen = seen_by(state, batch, target_key)._replace(
            next_action=jax.lax.stop_gradient(jnp.take_along_axis(next_actions, best[..., None], axis=0)[0])
        )
        penalty = temperature * next_log_prob if backup_entropy else 0.0
        if target_penalty is not None:
            penalty += target_penalty(seen)
        target = ensemble_target(
            reward_scale * batch.reward,
            discount * (1.0 - batch.terminated),
            next_q,
            penalty=penalty,
            aggregate="max",
        )
        seen = seen._replace(target=target)

        objective = critic_objective(critic, seen, critic_penalty, critic_key)
        state, (metrics, penalty) = improve(state, "critic", critic_optimizer, objective)
        if auxiliary is not None:
            seen = seen_by(state, batch, auxiliary_key)._replace(
                next_action=seen.next_action, target=target, penalty=penalty
            )
            models, _, measures = auxiliary.update(state.auxiliary, seen)
            state, metrics = state._replace(auxiliary=models), metrics | measures
        return state._replace(step=state.step + 1), metrics

    def update(state: ActorCriticState, batch: Transition, key: PRNGKeyArray):
        batch = spread_over_devices(batch)
        actor_key, penalty_key, critic_key = jax.random.split(key, 3)
        state, metrics = temperature_step(state, batch, actor_key)
        state, actor_metrics = actor_step(state, batch, actor_key, penalty_key)
        state, critic_metrics = critic_step(state, batch, critic_key)
        target_params = polyak({"critic": state.params["critic"]}, state.target_params, tau)
        metrics |= actor_metrics | critic_metrics | {"temperature": jnp.exp(state.params["log_temperature"])}
        return state._replace(target_params=target_params), metrics

    return Learner(init=init, act=act, mode=mode, update=update)


def log_half_range(distribution: Any, size: int) -> Array:
    """Σ_d log((high_d − low_d) / 2): what the entropy of a bounded action exceeds that of the same in [−1, 1] by."""
    # A distribution of one's own that says nothing of bounds has none.
    if getattr(distribution, "kind", "identity") == "identity":
        return jnp.zeros(())
    half = jnp.broadcast_to((jnp.asarray(distribution.high) - jnp.asarray(distribution.low)) / 2, (size,))
    return jnp.sum(jnp.log(half))
