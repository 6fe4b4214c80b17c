"""Soft actor-critic.

References:
    Haarnoja, Zhou, Abbeel, Levine (2018). Soft Actor-Critic: Off-Policy Maximum Entropy Deep Reinforcement Learning
    with a Stochastic Actor. arXiv:1801.01290.
    Haarnoja, Zhou, Hartikainen, Tucker, Ha, Tan, Kumar, Zhu, Gupta, Abbeel, Levine (2018). Soft Actor-Critic Algorithms
    and Applications. arXiv:1812.05905.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree

from rlx.algorithms.actor_critic import (
    ActorCriticState,
    GradientStep,
    Slots,
    combined,
    improve,
    improve_actor,
    improve_critics,
    initial_state,
    move_targets,
)
from rlx.algorithms.learner import Learner, Transition, spread_over_devices
from rlx.algorithms.weighted_cloning import action_log_prob
from rlx.controllers import entropy_temperature_loss
from rlx.losses.policy import soft_value_maximization
from rlx.policies import Network
from rlx.types import Scalar


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
    added: Sequence[Slots] = (),
) -> Learner:
    """A SAC learner.

    One update is one step of temperature, policy and critics, in this order, then of the target critics::

        L_α = −log α · mean (log π(ã|s) + H̄),                                        ã ~ π(·|s)
        L_π = mean α·log π(ã|s) − min_i Q_i(s, ã)
        y   = r + γ·(1 − terminated)·(min_i Q̄_i(s', a') − α·log π(a'|s')),           a' ~ π(·|s')
        L_Q = Σ_i mean (Q_i(s, a) − y)²
        Q̄   ← τ·Q + (1 − τ)·Q̄

    With a larger ensemble it is SAC-N; `rlx.algorithms.edac` and `rlx.algorithms.cql` add to it.

    Args:
        policy: network that gives an `ActionDistribution`, such as `rlx.policies.policy(space, kind="tanh")`.
        critic: ensemble of action values, such as `rlx.policies.action_critic`.
        actor_optimizer: transformation of the policy's gradient.
        critic_optimizer: transformation of the critics' gradient.
        temperature_optimizer: transformation of the gradient of log α; None keeps α where it starts.
        discount: γ.
        tau: τ, how far the target critics move towards the critics in an update.
        initial_temperature: α at the start.
        target_entropy: H̄ in nats, of actions normalized to [−1, 1] where they have bounds, as the paper counts it
            whatever the bounds are; None: minus the number of their dimensions.
        reward_scale: multiplies rewards.
        added: what methods that are built on SAC put into it, such as `rlx.algorithms.bisimulation.slots`. Notes of
            auxiliary models reach the policy's next step only through their state, since that step comes first.

    Returns:
        A `Learner` whose state is an `ActorCriticState`.

    Raises:
        ValueError: what is added is no `Slots`.
    """
    slots = combined(*added)
    temperature_optimizer = optax.set_to_zero() if temperature_optimizer is None else temperature_optimizer

    def init(key: PRNGKeyArray, example: Transition) -> ActorCriticState:
        policy_key, critic_key, auxiliary_key = jax.random.split(key, 3)
        one = jax.tree.map(lambda x: x[0], example.observation)
        params = {"actor": policy.init(policy_key, one)}
        distribution = policy.apply(params["actor"], example.observation)
        action = distribution.action(distribution.mode())
        params["critic"] = critic.init(critic_key, one, action[0])
        params["log_temperature"] = jnp.log(jnp.asarray(initial_temperature, action.dtype))
        optimizers = {"actor": actor_optimizer, "critic": critic_optimizer, "log_temperature": temperature_optimizer}
        auxiliary = slots.auxiliary and slots.auxiliary.init(auxiliary_key, example._replace(action=action))
        return initial_state(params, optimizers, targets=("critic",), auxiliary=auxiliary)

    def act(state: ActorCriticState, observation: PyTree, key: PRNGKeyArray):
        distribution = policy.apply(state.params["actor"], observation)
        return distribution.action(distribution.sample(key)), {}

    def mode(state: ActorCriticState, observation: PyTree) -> Array:
        distribution = policy.apply(state.params["actor"], observation)
        return distribution.action(distribution.mode())

    def log_prob(state: ActorCriticState, observation: PyTree, action: Array) -> Array:
        return action_log_prob(policy.apply(state.params["actor"], observation), action)

    def sample(params: PyTree, observation: PyTree, key: PRNGKeyArray) -> tuple[Array, Array]:
        """A reparameterized action of each state, and its log-probability."""
        distribution = policy.apply(params, observation)
        raw = distribution.base.rsample(key)
        return distribution.action(raw), distribution.log_prob(raw)

    def temperature_step(state: ActorCriticState, batch: Transition, key: PRNGKeyArray):
        """−log α·(log π(ã|s) + H̄)."""
        size, distribution = batch.action.shape[-1], policy.apply(state.params["actor"], batch.observation)
        # Log-probabilities are those of actions in the environment's units; entropies are said of unit bounds.
        _, log_prob = sample(state.params["actor"], batch.observation, key)
        log_prob += log_half_range(distribution, size)
        wanted = -size if target_entropy is None else target_entropy

        def objective(log_temperature: Array):
            loss = entropy_temperature_loss(log_temperature, log_prob, target_entropy=wanted)
            return jnp.mean(loss), {"entropy": -jnp.mean(log_prob)}

        return improve(state, "log_temperature", temperature_optimizer, objective)

    def actor_loss(step: GradientStep) -> Array:
        """α·log π(ã|s) − min_i Q_i(s, ã)."""
        q = critic.apply(step.state.params["critic"], step.batch.observation, step.action)
        alpha = jnp.exp(step.state.params["log_temperature"])
        return soft_value_maximization(step.log_prob, jnp.min(q, axis=0), temperature=alpha)

    def next_value(state: ActorCriticState, batch: Transition, key: PRNGKeyArray) -> tuple[Array, Array]:
        """min_i Q̄_i(s', a') − α·log π(a'|s'), and a'."""
        action, log_prob = sample(state.params["actor"], batch.next_observation, key)
        q = critic.apply(state.target_params["critic"], batch.next_observation, action)
        return jnp.min(q, axis=0) - jnp.exp(state.params["log_temperature"]) * log_prob, action

    def update(state: ActorCriticState, batch: Transition, key: PRNGKeyArray):
        batch = spread_over_devices(batch)
        actor_key, slot_key, critic_key = jax.random.split(key, 3)
        # The steps of temperature and policy draw the same actions by the same key: the compiler computes them once.
        state, metrics = temperature_step(state, batch, actor_key)
        step = GradientStep(batch, state, slot_key)
        draw = lambda params: sample(params, batch.observation, actor_key)
        state, actor_metrics = improve_actor(actor_optimizer, draw, actor_loss, slots, step)
        step, critic_metrics = improve_critics(
            critic, critic_optimizer, next_value, slots, state, batch, critic_key,
            discount=discount, reward_scale=reward_scale,
        )  # fmt: skip
        metrics |= actor_metrics | critic_metrics | {"temperature": jnp.exp(state.params["log_temperature"])}
        return move_targets(step.state, tau), metrics

    return Learner(init=init, act=act, mode=mode, update=update, log_prob=log_prob)


def log_half_range(distribution: Any, size: int) -> Array:
    """Σ_d log((high_d − low_d) / 2): what the entropy of a bounded action exceeds that of the same in [−1, 1] by."""
    # A distribution of one's own that says nothing of bounds has none.
    if getattr(distribution, "kind", "identity") == "identity":
        return jnp.zeros(())
    half = jnp.broadcast_to((jnp.asarray(distribution.high) - jnp.asarray(distribution.low)) / 2, (size,))
    return jnp.sum(jnp.log(half))
