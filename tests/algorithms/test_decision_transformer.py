"""Decision Transformer: one update against NumPy, what it asks for, and that asking for more gives more."""

from typing import NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx import data, envs, policies
from rlx.algorithms import decision_transformer
from rlx.algorithms.learner import Transition
from rlx.training import evaluation, sources
from rlx.training.program import make_program

RNG = np.random.default_rng(0)
SCALE, LR = 0.5, 0.3
# A policy without attention: π_t = θ·(s_t, R̂_t, t).
THETA = RNG.normal(size=(4, 2))
LINEAR = policies.Network(
    lambda key, s, a, r, t, where: jnp.float32(THETA),
    lambda params, s, a, r, t, where, key=None: jnp.concatenate([s, r[..., None], t[..., None]], -1) @ params,
)


def test_one_update_is_a_step_of_the_mean_squared_error_over_what_is_no_padding():
    batch, time = 3, 4
    s, a = RNG.normal(size=(batch, time, 2)), RNG.normal(size=(batch, time, 2))
    r, t = RNG.normal(size=(batch, time)), np.tile(np.arange(time), (batch, 1))
    where = np.arange(time) < np.array([4, 2, 1])[:, None]
    junk = a.copy()
    junk[~where] = np.nan
    zeros = jnp.zeros((batch, time))
    extras = {"where": jnp.asarray(where), "timestep": jnp.asarray(t), "return_to_go": jnp.float32(r)}
    given = Transition(jnp.float32(s), jnp.float32(junk), zeros, zeros > 0, zeros > 0, jnp.float32(s), extras)
    learner = decision_transformer.learner(LINEAR, optax.sgd(LR), target_return=3.0, return_scale=SCALE)
    state, metrics = learner.update(learner.init(jax.random.key(0), given), given, jax.random.key(1))

    features = np.concatenate([s, SCALE * r[..., None], t[..., None]], -1)[where]
    error = features @ THETA - a[where]
    np.testing.assert_allclose(metrics["actor_loss"], np.mean(error**2), rtol=1e-5)
    expected = THETA - LR * 2 * features.T @ error / error.size
    np.testing.assert_allclose(state.params["actor"], expected, rtol=1e-5)
    assert state.step == 1

    # Acting, the newest step counts, and what was had already is asked for no more.
    history = {"observation": s, "action": a, "past_return": r, "timestep": t, "where": where}
    history = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32) if x.dtype == float else jnp.asarray(x), history)
    asked = np.concatenate([s, SCALE * (3.0 - r)[..., None], t[..., None]], -1)[:, -1]
    action = learner.mode(state, history)
    np.testing.assert_allclose(action, asked @ np.asarray(state.params["actor"], float), rtol=1e-4)
    np.testing.assert_array_equal(learner.act(state, history, jax.random.key(2))[0], action)


class Step(NamedTuple):
    observation: jax.Array
    next_observation: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    info: dict


class KeyDoor:
    """Take the key or not, walk, push the door or not: 1 for a push with the key, 0 without, 0.4 for none.

    The observation says where one is, and nothing about the key.
    """

    max_episode_steps = 3
    observation_space = gymnasium.spaces.Box(0, 1, (3,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def reset(self, key):
        return (jnp.array(0), jnp.array(False)), jnp.eye(3)[0]

    def step(self, state, action, key):
        place, has_key = state
        has_key = jnp.where(place == 0, action[0] > 0, has_key)
        is_over = place == 2
        reward = jnp.where(is_over, jnp.where(action[0] > 0, 1.0 * has_key, 0.4), 0.0)
        following = jnp.where(is_over, 0, place + 1)
        reached = jnp.eye(3)[jnp.minimum(place + 1, 2)]
        state = following, has_key & ~is_over
        return state, Step(jnp.eye(3)[following], reached, reward, is_over, jnp.array(False), {})


def random_data(episodes=300):
    """What uniformly random actions do: a quarter of the episodes returns 1, another 0, the rest 0.4."""
    action = RNG.uniform(-1, 1, (episodes, 3))
    pushes, has_key = action[:, 2] > 0, action[:, 0] > 0
    reward = np.zeros((episodes, 3))
    reward[:, 2] = np.where(pushes, has_key, 0.4)
    observation = np.tile(np.eye(3), (episodes, 1))
    last = np.arange(3 * episodes) % 3 == 2
    return data.make_dataset(
        observation, action.reshape(-1, 1), reward.ravel(), np.roll(observation, -1, 0), last, 0 * last
    )


@pytest.mark.slow
def test_asking_for_a_larger_return_gives_a_larger_return():
    dataset = random_data()
    environment = envs.with_history(KeyDoor(), 3)
    network = policies.decision_transformer(
        KeyDoor.action_space, embedding_size=16, num_layers=1, num_timesteps=3, residual_dropout=0.0
    )
    returns_to_go = data.returns_to_go(dataset)

    def sampler(dataset, key, count):
        batch = data.sample_sequences(dataset, key, count, length=3)
        return batch._replace(extras=batch.extras | {"return_to_go": returns_to_go[batch.extras["index"]]})

    def asking_for(target):
        return decision_transformer.learner(network, optax.adam(3e-3), target_return=target, return_scale=1.0)

    learner = asking_for(1.0)
    source = sources.dataset(dataset, learner, batch_size=64, updates_per_step=300, sampler=sampler)
    program = make_program(source, learner)
    state, metrics = jax.jit(lambda key: program.step(program.init(key)))(jax.random.key(0))

    @jax.jit
    @jax.vmap
    def reached(target):
        return evaluation.episodes(environment, asking_for(target), num_episodes=1)(state.learner, jax.random.key(1))

    targets = jnp.array([0.0, 0.4, 1.0])
    found = reached(targets)
    np.testing.assert_allclose(found["eval_return_mean"], targets, atol=1e-6)
    np.testing.assert_array_equal(found["eval_return_mean"], found["eval_stochastic_return_mean"])
    # The best of predictions that do not know the future: actions are uniform between -1 and 1.
    assert metrics["actor_loss"] < 1 / 3
