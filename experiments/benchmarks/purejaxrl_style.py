"""A PPO loop of the structure that PureJaxRL made known, written for comparison: everything in one jitted scan.

Wrappers around a Brax environment keep the episode statistics and the running normalization of observations and
rewards; the rollout stores values and log-probabilities; advantages come from a reverse scan; whole batches are
permuted once per epoch. Time limits count as terminations and resets return to one cached state, as in the original.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
from brax import envs as brax_envs
from brax.envs.wrappers import training as brax_wrappers
from flax.training.train_state import TrainState
from jaxtyping import Array

from rlx.recipes.ppo import Config
from rlx.training.program import Program


class ActorCritic(nn.Module):
    """Gaussian policy with a free scale, and value, as two separate networks in one module."""

    action_size: int
    hidden_sizes: tuple[int, ...]

    @nn.compact
    def __call__(self, observation):
        def mlp(outputs, gain):
            x = observation
            for size in self.hidden_sizes:
                x = nn.tanh(nn.Dense(size, kernel_init=nn.initializers.orthogonal(np.sqrt(2)))(x))
            return nn.Dense(outputs, kernel_init=nn.initializers.orthogonal(gain))(x)

        mean = mlp(self.action_size, 0.01)
        log_std = self.param("log_std", nn.initializers.zeros, (self.action_size,))
        return dist.Normal(mean, jnp.exp(log_std)).to_event(1), mlp(1, 1.0)[..., 0]


class Moments(NamedTuple):
    """Running mean and variance."""

    mean: Array
    variance: Array
    count: Array

    def add(self, x: Array) -> Moments:
        """Merge a batch by the parallel formula."""
        size = x.shape[0]
        total = self.count + size
        delta = jnp.mean(x, 0) - self.mean
        squares = self.variance * self.count + jnp.var(x, 0) * size + delta**2 * self.count * size / total
        return Moments(self.mean + delta * size / total, squares / total, total)


class WrapperState(NamedTuple):
    """Simulator state and what the wrappers around it keep; statistics of episodes are `[env]`."""

    simulator: Any
    observation_moments: Moments
    return_moments: Moments
    discounted_return: Array
    episode_return: Array
    episode_length: Array
    finished_return: Array
    finished_length: Array


class Stored(NamedTuple):
    """One row of the rollout."""

    done: Array
    action: Array
    value: Array
    reward: Array
    log_prob: Array
    observation: Array
    episode_return: Array
    finished: Array


def make_program(config: Config, episode_length: int) -> Program:
    """The loop as `init` and `step`, one update each (no evaluation)."""
    simulator = brax_envs.get_environment(config.env.removeprefix("brax:"), backend=config.backend)
    simulator = brax_wrappers.wrap(simulator, episode_length=episode_length)
    network = ActorCritic(simulator.action_size, config.hidden_sizes)
    optimizer = optax.chain(
        optax.clip_by_global_norm(config.max_grad_norm),
        optax.adam(config.learning_rate, eps=config.adam_epsilon),
    )

    def environment_reset(key):
        # Brax's wrappers read the batch's shape off raw keys.
        state = simulator.reset(jax.random.key_data(jax.random.split(key, config.num_envs)))
        zeros = jnp.zeros(config.num_envs)
        width = state.obs.shape[-1]
        start = WrapperState(
            state,
            Moments(jnp.zeros(width), jnp.ones(width), jnp.array(1e-4)).add(state.obs),
            Moments(jnp.zeros(()), jnp.ones(()), jnp.array(1e-4)),
            *[zeros] * 5,
        )
        return start, _normalize(start.observation_moments, state.obs)

    def environment_step(state, action):
        simulated = simulator.step(state.simulator, jnp.clip(action, -1.0, 1.0))
        reward, done = simulated.reward, simulated.done
        observation_moments = state.observation_moments.add(simulated.obs)
        discounted = state.discounted_return * config.discount + reward
        return_moments = state.return_moments.add(discounted)
        episode_return, length = state.episode_return + reward, state.episode_length + 1
        state = WrapperState(
            simulated,
            observation_moments,
            return_moments,
            discounted * (1 - done),
            episode_return * (1 - done),
            length * (1 - done),
            jnp.where(done, episode_return, state.finished_return),
            jnp.where(done, length, state.finished_length),
        )
        scaled = reward / jnp.sqrt(return_moments.variance + 1e-8)
        return state, _normalize(observation_moments, simulated.obs), scaled, done

    def init(key):
        key, network_key, reset_key = jax.random.split(key, 3)
        environment, observation = environment_reset(reset_key)
        params = network.init(network_key, observation[0])
        train = TrainState.create(apply_fn=network.apply, params=params, tx=optimizer)
        return train, environment, observation, key

    def step(state):
        train, environment, observation, key = state
        key, rollout_key, epochs_key = jax.random.split(key, 3)

        def interact(carry, key):
            environment, observation = carry
            distribution, value = network.apply(train.params, observation)
            action = distribution.sample(key)
            log_prob = distribution.log_prob(action)
            environment, next_observation, reward, done = environment_step(environment, action)
            row = Stored(done, action, value, reward, log_prob, observation, environment.finished_return, done > 0)
            return (environment, next_observation), row

        (environment, observation), rollout = jax.lax.scan(
            interact, (environment, observation), jax.random.split(rollout_key, config.unroll_length)
        )
        _, last_value = network.apply(train.params, observation)

        def backward(carry, row):
            advantage, next_value = carry
            going_on = 1 - row.done
            delta = row.reward + config.discount * next_value * going_on - row.value
            advantage = delta + config.discount * config.gae_lambda * going_on * advantage
            return (advantage, row.value), advantage

        _, advantage = jax.lax.scan(
            backward, (jnp.zeros_like(last_value), last_value), rollout, reverse=True, unroll=16
        )

        def objective(params, rows, advantage, target):
            distribution, value = network.apply(params, rows.observation)
            log_prob = distribution.log_prob(rows.action)
            clipped_value = rows.value + jnp.clip(value - rows.value, -config.clip, config.clip)
            value_loss = 0.5 * jnp.mean(jnp.maximum((value - target) ** 2, (clipped_value - target) ** 2))
            ratio = jnp.exp(log_prob - rows.log_prob)
            advantage = (advantage - jnp.mean(advantage)) / (jnp.std(advantage) + 1e-8)
            clipped_ratio = jnp.clip(ratio, 1 - config.clip, 1 + config.clip)
            policy_loss = -jnp.mean(jnp.minimum(ratio * advantage, clipped_ratio * advantage))
            entropy = jnp.mean(distribution.entropy())
            total = policy_loss + config.value_coefficient * value_loss - config.entropy_coefficient * entropy
            return total, (value_loss, policy_loss, entropy)

        def epoch(train, key):
            order = jax.random.permutation(key, config.steps_per_update)

            def split(x):
                flat = x.reshape(config.steps_per_update, *x.shape[2:])
                return jnp.take(flat, order, axis=0).reshape(config.num_minibatches, -1, *flat.shape[1:])

            def minibatch(train, batch):
                (_, losses), gradient = jax.value_and_grad(objective, has_aux=True)(train.params, *batch)
                return train.apply_gradients(grads=gradient), losses

            batches = jax.tree.map(split, (rollout, advantage, advantage + rollout.value))
            return jax.lax.scan(minibatch, train, batches)

        train, losses = jax.lax.scan(epoch, train, jax.random.split(epochs_key, config.update_epochs))
        metrics = {
            "losses": losses,
            "return_mean": jnp.mean(rollout.episode_return, where=rollout.finished),
        }
        return (train, environment, observation, key), metrics

    return Program(init, step, None)


def _normalize(moments: Moments, x: Array) -> Array:
    return (x - moments.mean) / jnp.sqrt(moments.variance + 1e-8)
