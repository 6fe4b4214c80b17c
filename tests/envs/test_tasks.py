import collections

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import envs
from rlx.envs.tasks.gridworld import FOUR_ROOMS
from rlx.envs.tasks.multigoal import GOALS
from tests.envs.rollouts import check_promises, random_actions, rollout

KEY = jax.random.key(0)
TASKS = envs.names("rlx")


@pytest.mark.parametrize("name", TASKS)
def test_every_task_keeps_the_promises(name):
    env = envs.make(name, max_episode_steps=4)
    random_reset = name in (
        "rlx:bandit",
        "rlx:pendulum",
        "rlx:pendulum_without_velocity",
        "rlx:multigoal",
        "rlx:point_maze",
    )
    check_promises(env, rollout(env, seeds=2, envs=3, steps=9), random_reset=random_reset)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_drawn(name):
    env = envs.make(name)
    states, _ = jax.vmap(env.reset)(jax.random.split(KEY, 3))
    frames = env.render(states, width=64, height=48)
    assert frames.shape == (3, 48, 64, 3) and frames.dtype == np.uint8
    assert len(np.unique(frames.reshape(-1, 3), axis=0)) > 2


@pytest.mark.parametrize("name", ["rlx:chain", "rlx:gridworld"])
def test_small_tasks_start_in_different_states(name):
    _, observations = jax.vmap(envs.make(name).reset)(jax.random.split(KEY, 50))
    assert len(np.unique(observations, axis=0)) > 1


def test_pendulum_is_gymnasiums(rng):
    env = envs.make("rlx:pendulum", gravity=9.81, max_episode_steps=None)
    theirs = gymnasium.make("Pendulum-v1", g=9.81).unwrapped
    theirs.reset(seed=0)
    state, first = env.reset(KEY)
    theirs.state = np.asarray(state.task, np.float64)
    np.testing.assert_allclose(first, theirs._get_obs(), atol=1e-6)
    step = jax.jit(env.step)
    for _ in range(100):
        action = rng.uniform(-2.5, 2.5, 1).astype(np.float32)
        # From the same float32 state each time, so that rounding does not add up.
        theirs.state = np.asarray(state.task, np.float64)
        observation, reward, *_ = theirs.step(action)
        state, ours = step(state, action, KEY)
        np.testing.assert_allclose(ours.next_observation, observation, atol=2e-5)
        np.testing.assert_allclose(ours.reward, reward, atol=2e-4)
    starts = np.asarray(jax.vmap(env.task.reset)(jax.random.split(KEY, 2000))[0])
    np.testing.assert_allclose(np.abs(starts).max(axis=0), [np.pi, 1.0], rtol=0.01)


def test_bandit_pays_the_best_arm_best():
    env = envs.make("rlx:bandit", arms=3, context_size=5, noise=0.5)
    keys = jax.random.split(KEY, 4000)
    state, context = jax.vmap(env.reset)(keys)
    step = lambda arm: jax.vmap(env.step, (0, None, 0))(state, arm, keys)[1]
    rewards, regrets = zip(*[(step(arm).reward, step(arm).info["regret"]) for arm in range(3)], strict=True)
    assert step(0).terminated.all()
    # Regret is the gap of the means; each reward scatters around its mean by the noise.
    np.testing.assert_allclose(np.min(regrets, axis=0), 0.0, atol=1e-6)
    means = np.stack(rewards)
    gaps = (means - means[0]) + (np.stack(regrets) - np.asarray(regrets[0]))
    assert np.abs(gaps).max() < 1e-4  # the same key gives the same noise
    weights = np.linalg.lstsq(np.asarray(context), means.T, rcond=None)[0]
    np.testing.assert_allclose(np.linalg.norm(weights, axis=0), 1.0, atol=0.05)
    np.testing.assert_allclose((np.asarray(context) @ weights - means.T).std(), 0.5, rtol=0.05)


def test_chain_pays_at_its_walls():
    env = envs.make("rlx:chain", length=4)
    state, _ = env.reset(KEY)
    rewards = []
    for action in [0, 0, 1, 1, 1, 1, 1]:
        state, step = env.step(state, action, KEY)
        rewards.append(float(step.reward))
    start = int(jnp.argmax(env.reset(KEY)[1]))
    np.testing.assert_allclose(rewards, [0.01 * (start == 0), 0.01, 0, 0, 0, 1, 1], rtol=1e-6)
    slippery = envs.make("rlx:chain", length=9, slip=0.25, max_episode_steps=None)
    state = jax.tree.map(lambda x: jnp.full(2000, x), slippery.reset(KEY)[0]._replace(task=jnp.int32(4)))
    _, step = jax.vmap(slippery.step, (0, None, 0))(state, 1, jax.random.split(KEY, 2000))
    np.testing.assert_allclose(step.next_observation[:, 5].mean(), 0.75, atol=0.03)


def test_gridworld_moves_like_a_walk_on_its_map(rng):
    env = envs.make("rlx:gridworld", step_reward=-0.01, max_episode_steps=None)
    step = jax.jit(env.step)
    state, observation = env.reset(KEY)
    moves = {0: (-1, 0), 1: (0, 1), 2: (1, 0), 3: (0, -1)}
    for key in jax.random.split(KEY, 200):
        row, column = divmod(int(np.argmax(observation)), 11)
        assert FOUR_ROOMS[row][column] == "."
        action = int(rng.integers(4))
        r, c = row + moves[action][0], column + moves[action][1]
        free = 0 <= r < 11 and 0 <= c < 11 and FOUR_ROOMS[r][c] != "#"
        r, c = (r, c) if free else (row, column)
        state, now = step(state, action, key)
        assert divmod(int(np.argmax(now.next_observation)), 11) == (r, c)
        arrived = FOUR_ROOMS[r][c] == "G"
        assert bool(now.terminated) == arrived
        np.testing.assert_allclose(now.reward, arrived - 0.01, rtol=1e-5)
        observation = now.observation


@pytest.mark.parametrize("layout", [["..", "G"], ["..", ".."], ["GG"], ["x.G"], []])
def test_a_bad_layout_is_refused(layout):
    with pytest.raises(ValueError, match="layout must"):
        envs.make("rlx:gridworld", layout=layout)


def test_multigoal_has_four_equal_goals():
    env = envs.make("rlx:multigoal", start_noise=0.0)
    step = jax.jit(env.step)
    totals = []
    for number, goal in enumerate(GOALS):
        state, _ = env.reset(KEY)
        total = 0.0
        for t in range(1, 6):
            state, now = step(state, jnp.asarray(goal / 5), KEY)
            distance = 5.0 - (t - 1)
            expected = -30.0 - distance**2 + (10.0 if t == 5 else 0.0)
            np.testing.assert_allclose(now.reward, expected, rtol=1e-5)
            total += float(now.reward)
        assert now.terminated and now.info["goal"] == number
        totals.append(total)
    assert len(set(totals)) == 1


def test_point_maze_never_enters_a_wall_and_its_goal_can_be_reached():
    env = envs.make("rlx:point_maze", goal_radius=0.7, max_episode_steps=100)
    run = rollout(env, seeds=1, envs=64, steps=100, seed=3)
    x, y = np.moveaxis(np.asarray(run.step.next_observation)[0, :, :, :2], -1, 0)
    row, column = np.rint(-y).astype(int), np.rint(x).astype(int)
    cells = collections.Counter(zip(row.ravel().tolist(), column.ravel().tolist(), strict=True))
    free = {(0, 0), (0, 1), (0, 2), (0, 3), (1, 3), (2, 0), (2, 1), (2, 2), (2, 3)}
    assert set(cells) <= free
    # Right, down, left, each until the wall: round the bend to the goal.
    state = env.reset(KEY)[0]._replace(task=jnp.zeros(4))
    step = jax.jit(env.step)
    for push in [(1.0, 0.0)] * 20 + [(0.0, -1.0)] * 20 + [(-1.0, 0.0)] * 20:
        state, now = step(state, jnp.array(push), KEY)
        if now.terminated:
            break
    assert now.terminated and now.reward == 1.0
    np.testing.assert_allclose(
        now.info["distance"], np.hypot(*(np.asarray(now.next_observation)[:2] - (0, -2))), rtol=1e-5
    )


def test_random_actions_are_in_the_action_space():
    for name in TASKS:
        space = envs.make(name).action_space
        assert space.contains(np.asarray(random_actions(space, KEY, (1,))[0]))
