"""CQL's Lagrangian form, by the formula of the code of CQL and Cal-QL."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx import policies
from rlx.algorithms import cql
from rlx.algorithms.learner import Transition

SPACE = gymnasium.spaces.Box(-2.0, 2.0, (2,), np.float32)
WEIGHT, RATE = 5.0, 1e-2


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    observation, following = jnp.asarray(rng.normal(size=(2, 8, 3)), jnp.float32)
    action = jnp.asarray(rng.uniform(-2, 2, (8, 2)), jnp.float32)
    flag = jnp.zeros(8, bool)
    extras = {"return_to_go": jnp.zeros(8)}
    return Transition(observation, action, jnp.ones(8), flag, flag, following, extras)


def make_learner(**settings):
    policy = policies.gaussian_policy(
        SPACE, (4,), squash="tanh", state_dependent_std=True, activation="relu", initialization="uniform"
    )
    optimizers = (optax.adam(1e-3) for _ in range(3))
    return cql.learner(
        policy, policies.action_critic((4,)), *optimizers, low=-2.0, high=2.0, num_actions=2, weight=WEIGHT, **settings
    )


def test_one_step_of_the_multiplier_is_that_of_the_papers_code(batch):
    """Of α' = exp(l) with l = 1 at first, L = −½·Σ_i α'·weight·(gap_i − target), by a step of gradient descent."""

    @jax.jit
    def update(target):
        learner = make_learner(gap_target=target, multiplier_optimizer=optax.sgd(RATE))
        state = learner.init(jax.random.key(0), batch)
        state, metrics = learner.update(state, batch, jax.random.key(1))
        return state.auxiliary.log_value, metrics

    # Both critics' mean gaps, which the same random numbers give whatever the target is.
    total_gap = float(update(0.0)[1]["critic_penalty"]) / (np.e * WEIGHT)
    for target in (total_gap / 2 - 3, total_gap / 2, total_gap / 2 + 3):
        log_value, metrics = update(target)
        excess = np.e * WEIGHT * (total_gap - 2 * target)
        np.testing.assert_allclose(metrics["critic_penalty"], excess, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(metrics["multiplier"], np.e, rtol=1e-6)
        np.testing.assert_allclose(log_value, 1 + RATE * excess / 2, rtol=1e-5)
