import jax
import jax.numpy as jnp
import numpy as np
import pytest
from brax import envs as brax_envs

from rlx import envs
from tests.envs.rollouts import check_promises, rollout

pytestmark = pytest.mark.long(minutes=0.6)

LIMIT = 4


@pytest.fixture(scope="module")
def env():
    return envs.make("brax:inverted_pendulum", max_episode_steps=LIMIT)


@pytest.fixture(scope="module")
def run(env):
    return rollout(env, seeds=2, envs=3, steps=6)


@pytest.fixture(scope="module")
def simulator():
    raw = brax_envs.get_environment("inverted_pendulum", backend="spring")
    return jax.jit(raw.reset), jax.jit(raw.step)


@pytest.mark.slow
def test_it_keeps_the_promises(env, run):
    check_promises(env, run)


def test_transitions_are_braxs(run, simulator):
    reset, step = simulator
    for s, e in np.ndindex(2, 3):
        state = reset(run.reset_key[s, e])
        np.testing.assert_allclose(run.first[s, e], state.obs, atol=1e-6)
        for t in range(6):
            state = step(state, run.action[s, t, e])
            now = jax.tree.map(lambda x: np.asarray(x[s, t, e]), run.step)
            np.testing.assert_allclose(now.next_observation, state.obs, atol=2e-4)
            assert now.reward == state.reward and now.terminated == bool(state.done)
            if now.terminated or now.truncated:
                state = reset(jax.random.split(run.key[s, t, e])[1])
                np.testing.assert_allclose(now.observation, state.obs, atol=1e-6)


@pytest.mark.slow
def test_a_pole_that_falls_terminates():
    env = envs.make("brax:inverted_pendulum")

    def push(state, key):
        return env.step(state, jnp.ones(1), key)

    state, _ = env.reset(jax.random.key(0))
    _, step = jax.jit(lambda state: jax.lax.scan(push, state, jax.random.split(jax.random.key(1), 60)))(state)
    fallen = np.abs(np.asarray(step.next_observation)[:, 1]) > 0.2
    assert fallen.any()
    np.testing.assert_array_equal(step.terminated, fallen)
    assert not step.truncated.any()
    assert (np.abs(np.asarray(step.observation)[fallen]) <= 0.0100001).all()


def test_names_are_braxs():
    assert {f"brax:{name}" for name in brax_envs._envs} == set(envs.names("brax"))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "observations", "actions"), [("ant", 27, 8), ("halfcheetah", 17, 6), ("fast", 2, 1)])
def test_spaces_are_the_tasks(name, observations, actions):
    env = envs.make(f"brax:{name}")
    assert env.observation_space.shape == (observations,) and env.action_space.shape == (actions,)
    assert env.max_episode_steps == 1000
    np.testing.assert_array_equal(env.action_space.low, -np.ones(actions))
    key = jax.random.key(0)
    state, observation = jax.eval_shape(env.reset, key)
    later, step = jax.eval_shape(env.step, state, jnp.zeros(actions), key)
    assert later == state and step.next_observation == observation
    assert observation.shape == (observations,)


@pytest.mark.slow
def test_the_state_is_slim():
    state, _ = jax.eval_shape(envs.make("brax:ant").reset, jax.random.key(0))
    assert sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)) < 1000


def test_options_reach_brax():
    env = envs.make("brax:ant", backend="spring", exclude_current_positions_from_observation=False)
    assert env.observation_space.shape == (29,)


def test_the_time_step_is_a_decisions():
    assert envs.make("brax:inverted_pendulum").time_step == pytest.approx(0.02)
    assert envs.make("brax:ant", action_repeat=2).time_step == pytest.approx(0.1)
    assert envs.make("brax:fast").time_step is None


def test_loading_says_nothing(tmp_path, monkeypatch, capfd, recwarn):
    monkeypatch.chdir(tmp_path)
    envs.make("brax:halfcheetah")
    assert not [w for w in recwarn if w.category is not DeprecationWarning]
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_swimmer_swims_in_its_one_backend():
    env = envs.make("brax:swimmer")
    assert env.observation_space.shape == (8,)
    state, _ = jax.eval_shape(env.reset, jax.random.key(0))
    assert jax.eval_shape(env.step, state, jnp.zeros(2), jax.random.key(0))[0] == state
    with pytest.raises(ValueError, match="Unsupported backend: mjx"):
        envs.make("brax:swimmer", backend="mjx")


def test_it_may_be_made_within_a_trace():
    """As the sweep of the README does: the time step is a number there too."""
    made = []
    jax.eval_shape(lambda x: (made.append(envs.make("brax:hopper", backend="spring")), x)[1], 1.0)
    assert made[0].time_step == envs.make("brax:hopper", backend="spring").time_step
