import jax
import numpy as np
import pytest
from gymnasium import spaces
from mujoco_playground import dm_control_suite
from mujoco_playground._src import mjx_env

from rlx import envs
from tests.envs.rollouts import check_promises, rollout

pytestmark = pytest.mark.long(minutes=0.5)

LIMIT = 4


@pytest.fixture(scope="module")
def env():
    return envs.make("playground:CartpoleBalance", max_episode_steps=LIMIT)


@pytest.fixture(scope="module")
def run(env):
    return rollout(env, seeds=2, envs=3, steps=6)


@pytest.mark.slow
def test_it_keeps_the_promises(env, run):
    check_promises(env, run)


@pytest.mark.slow
def test_transitions_are_playgrounds(run):
    raw = dm_control_suite.load("CartpoleBalance", config_overrides={"impl": "jax"})
    reset, step = jax.jit(raw.reset), jax.jit(raw.step)
    for s, e in np.ndindex(2, 3):
        state = reset(run.reset_key[s, e])
        np.testing.assert_allclose(run.first[s, e], state.obs, atol=1e-5)
        for t in range(6):
            state = step(state, run.action[s, t, e])
            now = jax.tree.map(lambda x: np.asarray(x[s, t, e]), run.step)
            np.testing.assert_allclose(now.next_observation, state.obs, atol=1e-4)
            np.testing.assert_allclose(now.reward, state.reward, atol=1e-5)
            assert not now.terminated
            for name, value in state.metrics.items():
                np.testing.assert_allclose(now.info[name], value, atol=1e-5)
            if now.truncated:
                state = reset(jax.random.split(run.key[s, t, e])[1])
                np.testing.assert_allclose(now.observation, state.obs, atol=1e-5)


def test_names_are_playgrounds():
    assert [f"playground:{name}" for name in sorted(dm_control_suite.ALL_ENVS)] == envs.names("playground")


def test_the_limit_and_the_spaces_are_the_tasks():
    env = envs.make("playground:CheetahRun")
    assert env.max_episode_steps == 1000
    assert env.observation_space.shape == (17,) and env.action_space.shape == (6,)


def test_the_time_step_is_that_of_control():
    assert envs.make("playground:CartpoleBalance", ctrl_dt=0.02, action_repeat=3).time_step == pytest.approx(0.06)


class TwoViews:
    """Observes in a dict, as Playground's robots do, whose models would have to be downloaded."""

    def __init__(self, simulator):
        self.simulator = simulator

    def __getattr__(self, name):
        return getattr(self.simulator, name)

    def reset(self, key):
        return self.seen(self.simulator.reset(key))

    def step(self, state, action):
        return self.seen(self.simulator.step(state.replace(obs=state.obs["state"]), action))

    def seen(self, state):
        return state.replace(obs={"state": state.obs, "privileged_state": jax.numpy.append(state.obs, state.reward)})


@pytest.mark.slow
def test_observations_in_a_dict_stay_what_they_are(env, run, monkeypatch):
    load = dm_control_suite.load
    monkeypatch.setattr(dm_control_suite, "load", lambda *args, **options: TwoViews(load(*args, **options)))
    views = envs.make("playground:CartpoleBalance", max_episode_steps=LIMIT)
    box = lambda size: spaces.Box(-np.inf, np.inf, (size,), np.float32)
    assert views.observation_space == spaces.Dict(state=box(5), privileged_state=box(6))

    seen = rollout(views, seeds=2, envs=3, steps=6)
    for dicts, arrays in zip((seen.first, *seen.step[:2]), (run.first, *run.step[:2]), strict=True):
        assert set(dicts) == {"state", "privileged_state"}
        np.testing.assert_allclose(dicts["state"], arrays, atol=1e-5)
        np.testing.assert_array_equal(dicts["privileged_state"][..., :5], dicts["state"])
    reached = seen.step.next_observation["privileged_state"]
    np.testing.assert_allclose(reached[..., 5], seen.step.reward, rtol=1e-6)
    assert views.observation_space.contains(jax.tree.map(lambda x: np.asarray(x)[0, 0, 0], seen.step.observation))

    flat = envs.flatten_observations(views)
    _, vector = flat.reset(seen.reset_key[0, 0])
    first = jax.tree.map(lambda x: np.asarray(x)[0, 0], seen.first)
    np.testing.assert_allclose(vector, spaces.flatten(views.observation_space, first), atol=1e-5)


def test_nothing_was_downloaded():
    assert not mjx_env.MENAGERIE_PATH.exists()


@pytest.mark.slow
def test_it_may_be_made_within_a_trace():
    inside = jax.eval_shape(lambda key: envs.make("playground:CartpoleBalance").reset(key)[1], jax.random.key(0))
    assert inside.shape == (5,)
