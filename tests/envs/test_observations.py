import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from rlx import envs
from rlx.envs.observations import flatten
from tests.envs.rollouts import check_promises, rollout

KEY = jax.random.key(0)

SPACES = {
    "vector": spaces.Box(-1, 1, (3,), np.float32),
    "image": spaces.Box(0, 255, (2, 3, 4), np.uint8),
    "scalar": spaces.Box(-1, 1, (), np.float32),
    "discrete": spaces.Discrete(5),
    "discrete from 3": spaces.Discrete(5, start=3),
    "multi-discrete": spaces.MultiDiscrete([[2, 3], [4, 2]]),
    "multi-binary": spaces.MultiBinary((2, 3)),
    "dict": spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Box(0, 1, (2, 2), np.float32)}),
    "tuple in dict": spaces.Dict(x=spaces.Tuple([spaces.Discrete(3), spaces.MultiBinary(2)]), y=spaces.Discrete(2)),
}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_flattening_is_gymnasiums(space):
    space.seed(0)
    for _ in range(3):
        observation = space.sample()
        flat = jax.jit(lambda x: flatten(space, x))(observation)
        assert flat.dtype == jnp.float32
        np.testing.assert_array_equal(flat, spaces.flatten(space, observation))


def test_a_space_without_fixed_shape_is_refused():
    with pytest.raises(ValueError, match="must be of Box, Discrete.* got the space Text"):
        flatten(spaces.Text(3), jnp.zeros(3))


def test_vectors_stay_as_they_are():
    env = envs.make("rlx:pendulum")
    assert envs.flatten_observations(env) is env


@pytest.mark.parametrize(
    ("name", "size"),
    [("gymnax:FrozenLake-misc", 16), ("gymnax:Catch-bsuite", 50), ("gymnax:FourRooms-misc", 4)],
)
def test_the_same_environment_in_vectors(name, size):
    env = envs.make(name, max_episode_steps=4, action_repeat=2)
    flat = envs.flatten_observations(env)
    space = flat.observation_space
    assert isinstance(space, spaces.Box) and space.shape == (size,) and space.dtype == np.float32
    assert isinstance(flat, envs.Environment)
    for attribute in ("name", "action_space", "max_episode_steps", "action_repeat", "time_step", "host"):
        assert getattr(flat, attribute) == getattr(env, attribute)

    raw, run = rollout(env), rollout(flat)
    check_promises(flat, run, random_reset=False)
    leaf = env.observation_space.shape
    flatten_all = lambda x: np.stack(
        [spaces.flatten(env.observation_space, one) for one in np.asarray(x).reshape(-1, *leaf)]
    ).reshape(*np.shape(x)[: np.ndim(x) - len(leaf)], size)
    np.testing.assert_array_equal(run.first, flatten_all(raw.first))
    np.testing.assert_array_equal(run.step.observation, flatten_all(raw.step.observation))
    np.testing.assert_array_equal(run.step.next_observation, flatten_all(raw.step.next_observation))
    np.testing.assert_array_equal(run.step.reward, raw.step.reward)
    np.testing.assert_array_equal(run.step.terminated, raw.step.terminated)


def test_structured_observations_of_the_host():
    env = envs.flatten_observations(envs.make("gym:Blackjack-v1"))
    assert env.host and env.observation_space.shape == (32 + 11 + 2,)
    _, observation = jax.vmap(env.reset)(jax.random.split(KEY, 3))
    theirs = gymnasium.make("Blackjack-v1")
    for flat, key in zip(observation, jax.random.split(KEY, 3)):
        hand, _ = theirs.reset(seed=int(jax.random.bits(key)))
        np.testing.assert_array_equal(flat, spaces.flatten(theirs.observation_space, hand))


def test_pictures_stay_as_they_are():
    env = envs.make("gymnax:Breakout-MinAtar")
    state, _ = env.reset(KEY)
    states = jax.tree.map(lambda x: x[None], state)
    np.testing.assert_array_equal(envs.flatten_observations(env).render(states), env.render(states))
