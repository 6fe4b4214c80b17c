"""Densities of logged actions under the policies of learners: those that the policies draw by."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx import controllers, policies
from rlx.algorithms import bc, ppo, sac
from rlx.algorithms.learner import Transition
from rlx.algorithms.normalization import with_fixed_normalization, with_running_normalization

SPACE = gymnasium.spaces.Box(-2.0, 3.0, (2,), np.float32)
OBSERVATION = jnp.array([[0.3, -1.0, 0.5], [0.1, 0.2, -0.4]])
BATCH = Transition(
    OBSERVATION, jnp.zeros((2, 2)), jnp.zeros(2), jnp.zeros(2, bool), jnp.zeros(2, bool), OBSERVATION, {}
)


def learner_of(kind):
    policy = policies.policy(SPACE, (4,), kind="tanh" if kind == "sac" else "gaussian")
    if kind == "bc":
        return policy, bc.learner(policy, optax.sgd(0.1))
    if kind == "ppo":
        return policy, ppo.learner(policy, policies.critic((4,)), optax.sgd(0.1))
    return policy, sac.learner(policy, policies.action_critic((4,)), *[optax.sgd(0.1)] * 3)


@pytest.mark.parametrize("kind", ["bc", "ppo", "sac"])
def test_it_is_the_density_of_the_policys_own_distribution(kind):
    policy, learner = learner_of(kind)
    state = learner.init(jax.random.key(0), BATCH)
    params = state.params["policy" if kind == "ppo" else "actor"]
    distribution = policy.apply(params, OBSERVATION)
    raw = distribution.sample(jax.random.key(1)) * 0.3
    action = distribution.action(raw)
    found = learner.log_prob(state, OBSERVATION, action)
    np.testing.assert_allclose(found, distribution.log_prob(raw), rtol=1e-4)


def test_a_learner_that_normalizes_sees_normalized_observations_here_too():
    _, plain = learner_of("bc")
    state = plain.init(jax.random.key(0), BATCH)
    mean, scale = jnp.array([1.0, 0.0, -1.0]), jnp.array([2.0, 0.5, 1.0])
    action = jnp.array([[0.5, 0.0], [1.0, -1.0]])
    fixed = with_fixed_normalization(plain, mean, scale)
    expected = plain.log_prob(state, (OBSERVATION - mean) / scale, action)
    np.testing.assert_allclose(fixed.log_prob(state, OBSERVATION, action), expected, rtol=1e-6)

    running = with_running_normalization(plain)
    state = running.observe(running.init(jax.random.key(0), BATCH), BATCH._replace(observation=3 * OBSERVATION + 1))
    seen = controllers.normalize(state.observation_moments, OBSERVATION)
    expected = plain.log_prob(state.learner, seen, action)
    np.testing.assert_allclose(running.log_prob(state, OBSERVATION, action), expected, rtol=1e-6)
    assert not np.allclose(expected, plain.log_prob(state.learner, OBSERVATION, action))


def test_a_deterministic_policy_has_none():
    learner = bc.learner(policies.deterministic(SPACE, (4,)), optax.sgd(0.1))
    state = learner.init(jax.random.key(0), BATCH)
    with pytest.raises(ValueError, match="no density"):
        learner.log_prob(state, OBSERVATION, jnp.zeros((2, 2)))
    nothing, one = jnp.zeros(3), jnp.ones(3)
    assert with_fixed_normalization(learner._replace(log_prob=None), nothing, one).log_prob is None
