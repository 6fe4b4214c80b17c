"""Random rollouts and the promises that every environment's rollout keeps."""

from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np

from rlx.envs import Environment, Step


class Rollout(NamedTuple):
    """Everything that happened, with leading axes `[seeds, steps, envs]` (`first`: `[seeds, envs]`)."""

    reset_key: jax.Array
    first: Any
    action: jax.Array
    key: jax.Array
    step: Step


def rollout(env: Environment, *, seeds: int = 2, envs: int = 3, steps: int = 10, seed: int = 0) -> Rollout:
    """Acts at random in `seeds` times `envs` environments: `vmap` in `scan` in `vmap`, as training does."""

    def run(key):
        reset_key, action_key, step_key = jax.random.split(key, 3)
        reset_key = jax.random.split(reset_key, envs)
        action = random_actions(env.action_space, action_key, (steps, envs))
        step_key = jax.random.split(step_key, (steps, envs))
        state, first = jax.vmap(env.reset)(reset_key)
        _, step = jax.lax.scan(lambda state, now: jax.vmap(env.step)(state, *now), state, (action, step_key))
        return Rollout(reset_key, first, action, step_key, step)

    return jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(seed), seeds))


def random_actions(space: gymnasium.Space, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    if isinstance(space, gymnasium.spaces.Discrete):
        return jax.random.randint(key, shape, 0, int(space.n))
    return jax.random.uniform(key, (*shape, *space.shape), minval=space.low, maxval=space.high)


def check_promises(env: Environment, run: Rollout, *, random_reset: bool = True) -> None:
    """Asserts what the protocol says of every rollout. Expects array observations and episodes that end."""
    # A loop can carry the state, and a compiled step serves from the first state on.
    key = jax.random.key(0)
    state, observation = jax.eval_shape(env.reset, key)
    later, a_step = jax.eval_shape(env.step, state, jax.eval_shape(lambda: run.action[0, 0, 0]), key)
    assert jax.tree.map(_type, (later, a_step.observation)) == jax.tree.map(_type, (state, observation))
    assert _type(a_step.next_observation) == _type(observation)

    step = jax.tree.map(np.asarray, run.step)
    over = step.terminated | step.truncated

    assert step.reward.dtype == np.float32
    assert step.terminated.dtype == step.truncated.dtype == bool
    assert not (step.terminated & step.truncated).any()

    # Until an episode ends the two observations are one; from its end on they are of two episodes.
    np.testing.assert_array_equal(step.observation[~over], step.next_observation[~over])
    fresh = step.observation[over]
    assert len(fresh) > 1
    if random_reset:
        assert (fresh != step.next_observation[over]).any(axis=tuple(range(1, fresh.ndim))).all()
        starts = np.concatenate([np.asarray(run.first).reshape(-1, *fresh.shape[1:]), fresh])
        assert len(np.unique(starts, axis=0)) == len(starts)

    # Cut off exactly when as many decisions have been taken as the limit allows.
    elapsed = np.zeros((over.shape[0], over.shape[2]), int)
    for t in range(over.shape[1]):
        elapsed += 1
        at_limit = elapsed == env.max_episode_steps
        assert (over[:, t] | ~at_limit).all()
        np.testing.assert_array_equal(step.truncated[:, t], at_limit & ~step.terminated[:, t])
        elapsed[over[:, t]] = 0

    for observation in (
        np.asarray(run.first)[0, 0],
        step.observation[0, 0, 0],
        step.next_observation[-1, -1, -1],
    ):
        assert env.observation_space.contains(observation), (observation, env.observation_space)
    assert env.action_space.contains(env.action_space.sample())
    assert np.asarray(run.action)[0, 0, 0].shape == env.action_space.shape


def _type(x):
    return x.shape, x.dtype, x.weak_type
