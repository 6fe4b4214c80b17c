import gymnasium
import gymnax
import jax
import numpy as np
import pytest

from rlx import envs
from tests.envs.rollouts import check_promises, rollout


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_transitions_are_gymnaxs(name):
    env = envs.make(f"gymnax:{name}", max_episode_steps=25)
    run = rollout(env, seeds=2, envs=2, steps=60)
    check_promises(env, run)
    assert bool(run.step.terminated.any()) == (name == "CartPole-v1")
    assert run.step.truncated.any()

    raw, params = gymnax.make(name)
    reset, step = jax.jit(raw.reset_env), jax.jit(raw.step_env)
    for s, e in np.ndindex(2, 2):
        observation, state = reset(run.reset_key[s, e], params)
        np.testing.assert_allclose(run.first[s, e], observation, atol=1e-6)
        for t in range(60):
            now = jax.tree.map(lambda x: np.asarray(x[s, t, e]), run.step)
            # Neither of the two draws anything while it moves.
            observation, state, reward, terminated, _ = step(run.key[s, t, e], state, run.action[s, t, e], params)
            np.testing.assert_allclose(now.next_observation, observation, atol=1e-3)
            np.testing.assert_allclose(now.reward, reward, atol=1e-3)
            assert now.terminated == terminated
            if now.terminated or now.truncated:
                observation, state = reset(jax.random.split(run.key[s, t, e])[1], params)
                np.testing.assert_allclose(now.observation, observation, atol=1e-6)


def test_gymnaxs_own_limit_is_the_default_and_does_not_terminate():
    assert envs.make("gymnax:CartPole-v1").max_episode_steps == 500
    env = envs.make("gymnax:MountainCar-v0")
    assert env.max_episode_steps == 200
    run = rollout(env, seeds=1, envs=2, steps=201)
    check_promises(env, run)
    assert run.step.truncated[0, 199].all() and not run.step.terminated.any()


def test_names_are_gymnaxs_but_the_one_that_downloads():
    known = {f"gymnax:{name}" for name in gymnax.registered_envs}
    assert known - set(envs.names("gymnax")) == {"gymnax:MNISTBandit-bsuite"}
    assert set(envs.names("gymnax")) <= known


@pytest.mark.parametrize("name", envs.names("gymnax"))
def test_every_task_has_a_consistent_type(name):
    env = envs.make(name)
    key = jax.random.key(0)
    state, observation = jax.eval_shape(env.reset, key)
    later, step = jax.eval_shape(env.step, state, env.action_space.sample(), key)
    assert later == state and step.next_observation == observation
    assert observation.shape == env.observation_space.shape
    # Gymnasium's Discrete is int64 always, which JAX has not by default.
    assert observation.dtype == env.observation_space.dtype or isinstance(
        env.observation_space, gymnasium.spaces.Discrete
    )


def test_options_reach_the_class_and_the_parameters():
    assert envs.make("gymnax:DeepSea-bsuite", size=5).observation_space.shape == (5, 5)
    env = envs.make("gymnax:CartPole-v1", x_threshold=0.0)
    state, _ = env.reset(jax.random.key(0))
    _, step = env.step(state, 1, jax.random.key(0))
    assert step.terminated


@pytest.mark.parametrize(("name", "seconds"), [("CartPole-v1", 0.02), ("Pendulum-v1", 0.05), ("Catch-bsuite", None)])
def test_the_time_step_is_the_tasks(name, seconds):
    assert envs.make(f"gymnax:{name}").time_step == seconds


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "Breakout-MinAtar"])
def test_some_are_drawn(name):
    env = envs.make(f"gymnax:{name}")
    states, _ = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), 2))
    frames = env.render(states, width=40, height=30)
    assert frames.shape == (2, 30, 40, 3) and frames.dtype == np.uint8 and frames.std() > 0


def test_others_say_that_they_are_not():
    env = envs.make("gymnax:Catch-bsuite")
    with pytest.raises(envs.RenderingUnavailable, match="gymnax:Catch-bsuite has no picture"):
        env.render(env.reset(jax.random.key(0))[0])


@pytest.mark.parametrize(
    "name", ["FourRooms-misc", "MetaMaze-misc", "Breakout-MinAtar", "Pendulum-v1", "DeepSea-bsuite"]
)
def test_it_may_be_made_within_a_trace(name):
    """As the sweep of the README does: the mazes look at their maps while they are made."""
    name = f"gymnax:{name}"
    first = lambda key: envs.make(name).reset(key)[1]

    inside = jax.eval_shape(jax.vmap(jax.jit(first)), jax.random.split(jax.random.key(0), 2))
    assert inside.shape == (2, *envs.make(name).observation_space.shape)
