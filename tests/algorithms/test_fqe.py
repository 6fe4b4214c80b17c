"""Fitted Q evaluation: one update against NumPy, and values of a process whose values are known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx.algorithms import fqe
from rlx.algorithms.learner import Transition
from rlx.policies import Network

MEMBERS, DISCOUNT = 3, 0.8
TABLE = Network(
    init=lambda key, observation, action: jax.random.normal(key, (MEMBERS, 2, 2)),
    apply=lambda params, observation, action: params[:, observation, action],
)
"""A value for each of two states and actions, of each member."""


def transitions(rng, size, **extras):
    state, action = rng.integers(2, size=size), rng.integers(2, size=size)
    following, terminated = rng.integers(2, size=size), rng.random(size) < 0.3
    reward = rng.normal(size=size)
    arrays = state, action, reward.astype(np.float32), terminated, np.zeros(size, bool), following
    return Transition(*map(jnp.asarray, arrays), extras={name: jnp.asarray(x) for name, x in extras.items()})


@pytest.mark.parametrize("counted", [False, True])
def test_an_update_is_a_step_of_every_member_to_its_own_target(counted):
    rng = np.random.default_rng(0)
    count = rng.integers(0, 3, (20, MEMBERS)).astype(np.float32)
    batch = transitions(rng, 20, **({fqe.COUNT: count} if counted else {}))
    policy = lambda observation, key: 1 - observation  # a known action in every state
    learner = fqe.learner(TABLE, policy, optax.sgd(0.5), discount=DISCOUNT, tau=0.1)
    state = learner.init(jax.random.key(1), batch)
    target_params = jnp.asarray(rng.normal(size=(MEMBERS, 2, 2)), jnp.float32)
    state = state._replace(target_params=target_params)
    found, metrics = jax.jit(learner.update)(state, batch, jax.random.key(2))

    expected = np.array(state.params, np.float64)
    loss = 0.0
    for b in range(MEMBERS):
        slope = np.zeros((2, 2))
        for i in range(20):
            s, a, following = int(batch.observation[i]), int(batch.action[i]), int(batch.next_observation[i])
            go_on = DISCOUNT * (1 - float(batch.terminated[i])) * float(target_params[b, following, 1 - following])
            error = float(state.params[b, s, a]) - float(batch.reward[i]) - go_on
            weight = count[i, b] if counted else 1.0
            slope[s, a] += 2 * weight * error / 20
            loss += weight * error**2 / 20 / MEMBERS
        expected[b] -= 0.5 * slope
    np.testing.assert_allclose(found.params, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.target_params, 0.9 * target_params + 0.1 * expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics["critic_loss"], loss, rtol=1e-5)


def test_the_values_of_a_stochastic_policy_are_found():
    """Against the solution of the linear equations of a process with two states."""
    step = np.array([[[0.7, 0.3], [0.2, 0.8]], [[0.5, 0.5], [0.9, 0.1]]])  # P[s, a, s']
    reward, chosen = np.array([[1.0, 0.0], [-1.0, 2.0]]), np.array([[0.25, 0.75], [0.6, 0.4]])
    under = np.einsum("sa,sat->st", chosen, step)
    value = np.linalg.solve(np.eye(2) - DISCOUNT * under, np.sum(chosen * reward, axis=1))

    rng = np.random.default_rng(0)
    state, action = rng.integers(2, size=4000), rng.integers(2, size=4000)
    following = (rng.random(4000) < step[state, action, 1]).astype(int)
    never = jnp.zeros(4000, bool)
    batch = Transition(
        *map(jnp.asarray, (state, action, reward[state, action])), never, never, jnp.asarray(following), {}
    )
    policy = lambda observation, key: jax.random.bernoulli(key, jnp.asarray(chosen)[observation, 1]).astype(int)
    learner = fqe.learner(TABLE, policy, optax.sgd(0.5), discount=DISCOUNT, tau=0.2, num_actions=4)
    keys = jax.random.split(jax.random.key(0), 300)
    state, _ = jax.lax.scan(lambda s, key: learner.update(s, batch, key), learner.init(keys[0], batch), keys)
    found = fqe.value(TABLE, state.params, policy, jnp.arange(2), jax.random.key(1), num_actions=4000)
    np.testing.assert_allclose(found, np.broadcast_to(value, (MEMBERS, 2)), atol=0.12)


def test_some_action_is_drawn():
    with pytest.raises(ValueError, match="num_actions must be at least 1"):
        fqe.learner(TABLE, lambda observation, key: observation, optax.sgd(0.1), num_actions=0)
