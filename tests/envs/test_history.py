import jax
import numpy as np
import pytest

from rlx import envs
from tests.envs.rollouts import rollout

LENGTH = 3


def histories(run):
    """What every observation of a rollout should hold, of one environment, from the run of the bare one."""
    first, action, step = jax.tree.map(np.asarray, (run.first, run.action, run.step))
    shown, reached = [], []
    for seed, env in np.ndindex(first.shape[:2]):
        episode = [(first[seed, env], 0.0)]  # observation and return so far; the actions between them
        actions = []
        for t in range(action.shape[1]):
            here = (seed, t, env)
            actions.append(action[here])
            episode.append((step.next_observation[here], episode[-1][1] + step.reward[here]))
            reached.append(window(episode, actions, 0 * action[here]))
            if step.terminated[here] | step.truncated[here]:
                episode, actions = [(step.observation[here], 0.0)], []
            shown.append(window(episode, actions, 0 * action[here]))
    return shown, reached


def window(episode, actions, no_action):
    count = min(LENGTH, len(episode))
    pad = lambda rows, filler=0: np.stack([np.zeros_like(rows[0]) + filler] * (LENGTH - count) + rows[-count:])
    return {
        "observation": pad([observation for observation, _ in episode], episode[0][0]),
        "action": pad([*actions, no_action]),
        "past_return": pad([np.float32(total) for _, total in episode]),
        "timestep": pad([np.int32(t) for t in range(len(episode))]),
        "where": np.arange(LENGTH) >= LENGTH - count,
    }


@pytest.mark.parametrize("name", ["rlx:pendulum", "gymnax:FourRooms-misc"])
def test_an_observation_holds_the_latest_steps_of_its_episode_alone(name):
    bare = envs.make(name, max_episode_steps=4)
    env = envs.with_history(bare, LENGTH)
    assert isinstance(env, envs.Environment) and (env.name, env.max_episode_steps) == (name, 4)
    run, plain = rollout(env), rollout(bare)
    for field in ("reward", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(run.step, field), getattr(plain.step, field))
    found = jax.tree.map(np.asarray, run.step)
    for theirs, expected in zip((found.observation, found.next_observation), histories(plain)):
        for field, values in theirs.items():
            values = np.moveaxis(values, 2, 1).reshape(-1, *values.shape[3:])
            np.testing.assert_allclose(values, [one[field] for one in expected], rtol=1e-6, err_msg=field)
    one = jax.tree.map(lambda x: np.asarray(x)[0, 0, 0], run.step.observation)
    assert env.observation_space.contains(one)
    carried = jax.tree.map(lambda x: (x.shape, x.dtype), jax.eval_shape(env.reset, jax.random.key(0)))
    key, action = jax.random.key(0), plain.action[0, 0, 0]
    state, step = jax.eval_shape(lambda key: env.step(env.reset(key)[0], action, key), key)
    assert carried == jax.tree.map(lambda x: (x.shape, x.dtype), (state, step.observation))


def test_pictures_and_histories_stay_as_they_are_and_no_history_is_refused():
    bare = envs.make("rlx:pendulum")
    env = envs.with_history(bare, LENGTH)
    state, _ = env.reset(jax.random.key(0))
    states = jax.tree.map(lambda x: x[None], state)
    np.testing.assert_array_equal(env.render(states), bare.render(states[0]))
    assert envs.with_history(env, LENGTH) is env
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        envs.with_history(bare, 0)
