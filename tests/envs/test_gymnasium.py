import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import envs
from rlx.envs.adapters.gymnasium import Hosts
from tests.envs.rollouts import check_promises, rollout

KEY = jax.random.key(0)


def seed_of(key):
    return int(jax.random.bits(key))


@pytest.mark.parametrize("name", ["Pendulum-v1", "CartPole-v1"])
def test_transitions_are_gymnasiums(name):
    env = envs.make(f"gym:{name}", max_episode_steps=20)
    run = rollout(env, seeds=2, envs=3, steps=45)
    check_promises(env, run)
    assert bool(run.step.terminated.any()) == (name == "CartPole-v1")

    theirs = gymnasium.make(name).unwrapped
    for s, e in np.ndindex(2, 3):
        observation, _ = theirs.reset(seed=seed_of(run.reset_key[s, e]))
        np.testing.assert_array_equal(run.first[s, e], observation)
        for t in range(45):
            now = jax.tree.map(lambda x: np.asarray(x[s, t, e]), run.step)
            observation, reward, terminated, *_ = theirs.step(np.asarray(run.action[s, t, e]))
            np.testing.assert_array_equal(now.next_observation, observation)
            assert now.reward == np.float32(reward) and now.terminated == terminated
            if now.terminated or now.truncated:
                observation, _ = theirs.reset(seed=seed_of(jax.random.split(run.key[s, t, e])[1]))
                np.testing.assert_array_equal(now.observation, observation)


def test_a_run_repeats():
    env = envs.make("gym:Pendulum-v1", max_episode_steps=5)
    a, b = rollout(env, steps=12), rollout(env, steps=12)
    jax.tree.map(np.testing.assert_array_equal, a.step, b.step)


def test_a_batch_costs_one_call_to_the_host_and_resets_none_when_none_is_done(monkeypatch):
    calls = []
    for method in ("start", "move", "restart"):
        original = getattr(Hosts, method)
        log = lambda self, *a, original=original, method=method: (calls.append(method), original(self, *a))[1]
        monkeypatch.setattr(Hosts, method, log)
    env = envs.make("gym:Pendulum-v1", max_episode_steps=3)
    jax.block_until_ready(rollout(env, seeds=2, envs=4, steps=7))
    assert calls == ["start"] + (["move"] * 3 + ["restart"]) * 2 + ["move"]


def test_without_vmap_and_with_action_repeat():
    env = envs.make("gym:Pendulum-v1", max_episode_steps=2, action_repeat=3)
    state, first = env.reset(KEY)
    theirs = gymnasium.make("Pendulum-v1").unwrapped
    observation, _ = theirs.reset(seed=seed_of(KEY))
    np.testing.assert_array_equal(first, observation)
    for t in range(2):
        state, step = env.step(state, jnp.array([0.5]), jax.random.fold_in(KEY, t))
        results = [theirs.step(np.array([0.5], np.float32)) for _ in range(3)]
        np.testing.assert_array_equal(step.next_observation, results[-1][0])
        np.testing.assert_allclose(step.reward, sum(r[1] for r in results), rtol=1e-6)
        assert bool(step.truncated) == (t == 1)


def test_an_episode_over_in_the_middle_of_a_repeated_action_stays_over():
    env = envs.make("gym:CartPole-v1", action_repeat=50)
    state, _ = env.reset(KEY)
    _, step = env.step(state, jnp.int32(1), KEY)
    theirs = gymnasium.make("CartPole-v1").unwrapped
    theirs.reset(seed=seed_of(KEY))
    total, terminated = 0.0, False
    while not terminated:
        observation, reward, terminated, *_ = theirs.step(1)
        total += reward
    np.testing.assert_array_equal(step.next_observation, observation)
    assert step.reward == total and step.terminated and not step.truncated


def test_spaces_come_in_jaxs_types():
    env = envs.make("gym:HalfCheetah-v5")
    assert env.observation_space.dtype == np.float32 and env.observation_space.shape == (17,)
    assert env.action_space.shape == (6,) and env.max_episode_steps == 1000
    state, observation = env.reset(KEY)
    _, step = env.step(state, jnp.zeros(6), KEY)
    assert env.observation_space.contains(np.asarray(observation))
    assert step.next_observation.dtype == jnp.float32


def test_structured_observations_pass_through():
    env = envs.make("gym:Blackjack-v1")
    state, observation = jax.vmap(env.reset)(jax.random.split(KEY, 5))
    assert isinstance(observation, tuple) and [part.shape for part in observation] == [(5,)] * 3
    _, step = jax.vmap(env.step)(state, jnp.zeros(5, jnp.int32), jax.random.split(KEY, 5))
    assert step.terminated.all()


def test_the_least_recently_used_are_closed():
    env = envs.make("gym:Pendulum-v1")
    old, _ = env.reset(KEY)
    busy, _ = jax.vmap(env.reset)(jax.random.split(KEY, 3))
    for _ in range(5):
        jax.vmap(env.reset)(jax.random.split(KEY, 100))
        jax.vmap(env.step)(busy, jnp.zeros((3, 1)), jax.random.split(KEY, 3))
    with pytest.raises(Exception, match="is gone: it was the least recently used"):
        jax.block_until_ready(env.step(old, jnp.zeros(1), KEY))


def test_a_state_of_another_process_is_cut_off_and_starts_afresh():
    saved, current = jax.vmap(envs.make("gym:Pendulum-v1", max_episode_steps=9).reset)(jax.random.split(KEY, 3))
    env = envs.make("gym:Pendulum-v1", max_episode_steps=9, action_repeat=2)
    keys = jax.random.split(jax.random.key(1), 3)
    state, cut = jax.vmap(env.step)(saved, jnp.ones((3, 1)), keys)
    assert cut.truncated.all() and not cut.terminated.any()
    np.testing.assert_array_equal(cut.reward, 0)
    np.testing.assert_array_equal(cut.next_observation, current)

    state, step = jax.vmap(env.step)(state, jnp.ones((3, 1)), keys)
    assert not (step.truncated | step.terminated).any()
    theirs = gymnasium.make("Pendulum-v1").unwrapped
    for e in range(3):
        observation, _ = theirs.reset(seed=seed_of(jax.random.split(keys[e])[1]))
        np.testing.assert_array_equal(cut.observation[e], observation)
        theirs.step(np.ones(1, np.float32))
        np.testing.assert_array_equal(step.next_observation[e], theirs.step(np.ones(1, np.float32))[0])


@pytest.mark.parametrize("name", envs.names("gym"))
def test_every_name_can_be_made(name):
    env = envs.make(name)
    assert env.host and env.name == name


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("Pendulum-v1", 0.05), ("CartPole-v1", 0.02), ("HalfCheetah-v5", 0.05), ("Blackjack-v1", None)],
)
def test_the_time_step_is_the_simulators(name, seconds):
    assert envs.make(f"gym:{name}").time_step == (None if seconds is None else pytest.approx(seconds))


def test_loading_a_model_with_an_old_attribute_is_quiet(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    envs.make("gym:HalfCheetah-v5")
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())


def test_drawing_needs_pictures():
    env = envs.make("gym:Pendulum-v1")
    state, _ = env.reset(KEY)
    with pytest.raises(envs.RenderingUnavailable, match="pictures=True"):
        env.render(jax.tree.map(lambda x: x[None], state))


class Flashlight(gymnasium.Env):
    """Its picture shows how many steps it has taken."""

    observation_space = action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(1, np.float32), 0.0, False, False, {}

    def render(self):
        return np.full((2, 4, 3), 10 * self.steps, np.uint8)


def test_pictures_are_taken_as_it_runs():
    gymnasium.register("Flashlight-v0", Flashlight)
    try:
        env = envs.make("gym:Flashlight-v0", pictures=True, max_episode_steps=3)
        state, _ = jax.vmap(env.reset)(KEY[None])
        seen = [state]
        for _ in range(4):
            state, _ = jax.vmap(env.step)(state, jnp.zeros((1, 1)), KEY[None])
            seen.append(state)
        frames = env.render(jax.tree.map(lambda *x: jnp.stack(x)[:, 0], *seen), width=8, height=6)
        assert frames.shape == (5, 6, 8, 3)
        np.testing.assert_array_equal(frames[:, 0, 0, 0], [0, 10, 20, 0, 10])
    finally:
        del gymnasium.registry["Flashlight-v0"]
