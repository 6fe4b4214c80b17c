"""The log of what is experienced online: its returns-to-go are those of a dataset that was read so far."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import data
from rlx.data.sampling import Batch
from rlx.training.sources.online_log import empty_log, extend_log, sample_log

DISCOUNT, ENVS, WINDOW = 0.9, 3, 4


def experience(steps, seed=0):
    """What environments go through, `[time, env]`: episodes of all lengths, some terminated, some cut, some both."""
    rng = np.random.default_rng(seed)
    flags = rng.random((2, steps, ENVS)) < 0.12
    observation = np.arange(steps * ENVS, dtype=np.float32).reshape(steps, ENVS, 1)
    return Batch(
        observation=observation,
        action=observation + 0.5,
        reward=rng.normal(size=(steps, ENVS)).astype(np.float32),
        terminated=flags[0],
        truncated=flags[1],
        next_observation=observation + 1,
        extras={},
    )


def expected_returns(reward, terminated, truncated):
    """Returns-to-go of one environment's log in double precision, episode by episode, row by row."""
    reward, result, start = np.asarray(reward, np.float64), np.zeros(len(reward)), 0
    for end in range(len(reward)):
        if not (terminated[end] or truncated[end] or end == len(reward) - 1):
            continue
        episode = reward[start : end + 1]
        following = 0.0 if terminated[end] else episode.mean() / (1 - DISCOUNT)
        for row in range(end, start - 1, -1):
            result[row] = following = reward[row] + DISCOUNT * following
        start = end + 1
    return result


@pytest.fixture(scope="module")
def extend():
    return jax.jit(lambda log, steps: extend_log(log, steps, discount=DISCOUNT))


def logs(extend, steps, capacity):
    """The log after every window, and how many steps it then has taken in."""
    log = empty_log(jax.tree.map(lambda x: jnp.asarray(x[0]), steps), capacity, with_returns=True)
    for start in range(0, len(steps.reward), WINDOW):
        log = extend(log, jax.tree.map(lambda x: jnp.asarray(x[start : start + WINDOW]), steps))
        yield start + WINDOW, log


@pytest.mark.parametrize("capacity", [48, 12])
def test_returns_to_go_are_those_of_the_log_read_so_far(extend, capacity):
    steps, long_episodes = experience(48), 0
    for count, log in logs(extend, steps, capacity):
        rows = np.arange(max(0, count - capacity), count)
        for env in range(ENVS):
            of_env = [x[:count, env] for x in (steps.reward, steps.terminated, steps.truncated)]
            found = np.asarray(log.rows.extras["return_to_go"])[rows % capacity, env]
            np.testing.assert_allclose(found, expected_returns(*of_env)[rows], rtol=1e-4, atol=1e-4)
        long_episodes += int(np.max(log.running_length) > 2 * WINDOW)
        np.testing.assert_array_equal(np.asarray(log.rows.observation)[rows % capacity], steps.observation[rows])
    assert long_episodes, "no episode lasted for several windows"


def test_they_are_those_of_the_same_rows_as_a_dataset(extend):
    steps = experience(24, seed=1)
    *_, (_, log) = logs(extend, steps, 24)
    for env in range(ENVS):
        names = ("observation", "action", "reward", "next_observation", "terminated", "truncated")
        dataset = data.make_dataset(**{name: getattr(steps, name)[:, env] for name in names})
        of_dataset = data.returns_to_go(dataset, discount=DISCOUNT, continued=True)
        np.testing.assert_allclose(log.rows.extras["return_to_go"][:, env], of_dataset, rtol=1e-4, atol=1e-4)


def test_a_failed_episode_of_a_sparse_reward_is_worth_its_reward_for_ever(extend):
    steps = experience(8)._replace(reward=np.full((8, ENVS), -5.0, np.float32), terminated=np.zeros((8, ENVS), bool))
    for count, log in logs(extend, steps, 8):
        found = np.asarray(log.rows.extras["return_to_go"])[:count]
        np.testing.assert_allclose(found, -5 / (1 - DISCOUNT), rtol=1e-5)


def test_every_row_that_is_kept_is_drawn_with_the_action_that_followed(extend):
    steps, capacity = experience(20), 12
    *_, (_, log) = logs(extend, steps, capacity)
    batch = jax.jit(sample_log, static_argnums=2)(log, jax.random.key(0), 2000)
    row, env = np.divmod(np.asarray(batch.observation)[:, 0].astype(int), ENVS)
    assert set(zip(row, env)) == {(r, e) for r in range(8, 20) for e in range(ENVS)}
    counts = np.bincount(row * ENVS + env)[8 * ENVS :]
    assert counts.min() > 0.5 * counts.mean() and counts.max() < 1.6 * counts.mean()
    for name in ("action", "reward", "terminated", "truncated", "next_observation"):
        np.testing.assert_array_equal(getattr(batch, name), getattr(steps, name)[row, env])
    has_next = ~(steps.terminated | steps.truncated)[row, env] & (row < 19)
    assert has_next.any() and not has_next.all()
    np.testing.assert_array_equal(batch.extras["next_action"], steps.action[row + has_next, env])
    assert set(batch.extras) == {"index", "next_action", "return_to_go"} and (batch.extras["index"] == -1).all()


def test_without_a_discount_no_returns_are_kept():
    steps = jax.tree.map(jnp.asarray, experience(4))
    log = extend_log(empty_log(jax.tree.map(lambda x: x[0], steps), 4, with_returns=False), steps)
    assert log.rows.extras == {} and "return_to_go" not in sample_log(log, jax.random.key(0), 2).extras
