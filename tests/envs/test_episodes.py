import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.envs import Environment, RenderingUnavailable, flatten_observations, resets, with_history, with_random_phase
from rlx.envs.episodes import EpisodicEnvironment
from rlx.envs.tasks import pendulum
from tests.envs.counting_task import counter
from tests.envs.rollouts import check_promises, rollout

ONE = jnp.ones(1)
KEYS = jax.random.split(jax.random.key(0), 20)


def test_the_environment_keeps_the_promises():
    env = counter(end=4.5, limit=4)
    assert isinstance(env, Environment)
    run = rollout(env, seeds=2, envs=4, steps=20)
    assert run.step.terminated.any() and run.step.truncated.any()
    check_promises(env, run)


def test_a_time_limit_truncates_and_keeps_what_was_reached():
    env = counter(limit=3)
    state, first = env.reset(KEYS[0])
    for t in range(1, 4):
        state, step = env.step(state, ONE, KEYS[t])
        np.testing.assert_allclose(step.next_observation, first + t, rtol=1e-6)
        assert bool(step.truncated) == (t == 3)
        assert not step.terminated
    assert 0 <= step.observation[0] < 1 and step.observation[0] != first[0]
    assert state.elapsed == 0 and state.task["steps"] == 0
    np.testing.assert_array_equal(state.task["x"], step.observation[0])
    np.testing.assert_array_equal(step.observation, env.reset(jax.random.split(KEYS[3])[1])[1])


def test_a_termination_at_the_limit_counts_as_a_termination():
    env = counter(end=3.0, cut=3.0, limit=3)
    state, _ = env.reset(KEYS[0])
    for t in range(1, 4):
        state, step = env.step(state, ONE, KEYS[t])
    assert step.terminated and not step.truncated


def test_a_task_may_cut_itself_off():
    env = counter(cut=2.0)
    state, _ = env.reset(KEYS[0])
    state, step = env.step(state, ONE, KEYS[1])
    assert not step.truncated
    state, step = env.step(state, ONE, KEYS[2])
    assert step.truncated and not step.terminated and state.elapsed == 0


def test_without_a_limit_it_goes_on():
    env = counter(limit=None)
    state, _ = env.reset(KEYS[0])
    state, step = jax.lax.scan(lambda state, key: env.step(state, ONE, key), state, KEYS)
    assert not step.truncated.any() and state.elapsed == len(KEYS)


def test_with_a_random_phase_first_episodes_end_anywhere_and_later_ones_at_the_limit():
    limit, count = 5, 2000
    plain, env = counter(limit=limit), with_random_phase(counter(limit=limit))
    keys = jax.random.split(jax.random.key(0), count)

    @jax.jit
    def run():
        state, first = jax.vmap(env.reset)(keys)
        step = jax.vmap(env.step, in_axes=(0, None, 0))
        _, steps = jax.lax.scan(lambda state, key: step(state, ONE, jax.random.split(key, count)), state, KEYS[:14])
        return first, steps

    first, steps = run()
    # What is drawn beside does not touch what the task draws.
    np.testing.assert_array_equal(first, jax.vmap(plain.reset)(keys)[1])
    ends = np.asarray(steps.truncated)
    assert not steps.terminated.any()
    lengths = ends.argmax(0) + 1
    counts = np.bincount(lengths, minlength=limit + 1)[1:]
    # Uniform on 1 … 5: chi squared of four degrees of freedom is below 18.5 in all but a thousandth of cases.
    assert counts.shape == (limit,) and ((counts - count / limit) ** 2 / (count / limit)).sum() < 18.5
    for time in range(14):
        np.testing.assert_array_equal(ends[time], (time + 1 >= lengths) & ((time + 1 - lengths) % limit == 0))
    # A cut episode is bootstrapped from what it reached, however short it was.
    cut = ends[0]
    np.testing.assert_allclose(steps.next_observation[0, cut], np.asarray(first)[cut] + 1, rtol=1e-6)
    assert (steps.observation[0, cut] < 1).all()


def test_a_random_phase_reaches_through_wrappers():
    env = with_random_phase(with_history(flatten_observations(counter(limit=9)), 2))
    (state, _), history = jax.vmap(env.reset)(KEYS)
    assert len(np.unique(state.elapsed)) > 4 and history["where"].shape == (20, 2)
    (state, _), _ = jax.vmap(with_history(counter(limit=9), 2).reset)(KEYS)
    assert not state.elapsed.any()


def test_a_random_phase_needs_a_limit_of_ours():
    with pytest.raises(ValueError, match="random_phase needs a time limit, and test:counter has none"):
        with_random_phase(counter(limit=None))
    with pytest.raises(ValueError, match="random_phase needs an environment whose time limit rlx sets, got a int"):
        with_random_phase(3)


def test_action_repeat_adds_rewards_and_counts_decisions():
    env = counter(limit=2, repeat=3)
    state, first = env.reset(KEYS[0])
    state, step = env.step(state, ONE, KEYS[1])
    np.testing.assert_allclose(step.reward, 3 * first[0] + 1 + 2 + 3, rtol=1e-6)
    np.testing.assert_allclose(step.next_observation, first + 3, rtol=1e-6)
    assert step.info["steps"] == 3 and not step.truncated
    _, step = env.step(state, ONE, KEYS[2])
    assert step.truncated


def test_a_decision_lasts_as_long_as_the_steps_it_repeats():
    task = pendulum()
    assert EpisodicEnvironment(task, None, action_repeat=3).time_step == pytest.approx(0.15)
    assert EpisodicEnvironment(dataclasses.replace(task, time_step=None), None).time_step is None


@pytest.mark.parametrize("ending", ["end", "cut"])
def test_action_repeat_stops_where_the_episode_ends(ending):
    env = counter(**{ending: 2.0}, repeat=5)
    state, first = env.reset(KEYS[0])
    _, step = env.step(state, ONE, KEYS[1])
    np.testing.assert_allclose(step.next_observation, first + 2, rtol=1e-6)
    np.testing.assert_allclose(step.reward, 2 * first[0] + 1 + 2, rtol=1e-6)
    assert step.info["steps"] == 2
    assert bool(step.terminated) == (ending == "end") and bool(step.truncated) == (ending == "cut")


def test_a_batch_equals_a_loop():
    env = counter(end=4.0, limit=3)
    run = rollout(env, seeds=2, envs=3, steps=8)
    reset, one_step = jax.jit(env.reset), jax.jit(env.step)
    for s, e in np.ndindex(2, 3):
        state, first = reset(run.reset_key[s, e])
        np.testing.assert_array_equal(first, run.first[s, e])
        for t in range(8):
            state, step = one_step(state, run.action[s, t, e], run.key[s, t, e])
            jax.tree.map(np.testing.assert_array_equal, step, jax.tree.map(lambda x: x[s, t, e], run.step))


def test_plain_resets_can_be_differentiated_through_an_episodes_end():
    env = counter(limit=2, renew=resets.select)

    def total(action):
        state, _ = env.reset(KEYS[0])
        _, step = jax.lax.scan(lambda state, key: env.step(state, action, key), state, KEYS[:4])
        return step.reward.sum()

    # Two episodes of two steps: x + a, x + 2a in each.
    np.testing.assert_allclose(jax.grad(total)(ONE), [6.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"limit": 0}, "max_episode_steps must be a positive integer, or None for no limit, got 0"),
        ({"limit": 2.5}, "got 2.5"),
        ({"repeat": 0}, "action_repeat must be a positive integer, got 0"),
        ({"repeat": True}, "got True"),
    ],
)
def test_impossible_counts_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        counter(**arguments)


def test_a_task_without_a_picture_says_so():
    env = counter()
    assert isinstance(env, EpisodicEnvironment)
    with pytest.raises(RenderingUnavailable, match="test:counter has no picture"):
        env.render(env.reset(KEYS[0])[0])
