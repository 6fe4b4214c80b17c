"""A task with known returns, for tests of the loop: reward is the action, an episode lasts `LIMIT` steps.

The observation counts the steps of the episode and carries its random start, so that resets can be told apart.
"""

from typing import NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import optax

from rlx import policies
from rlx.algorithms import ppo, with_running_normalization
from rlx.training import evaluation, sources
from rlx.training.program import make_program as program_of

LIMIT = 5


class ToyStep(NamedTuple):
    observation: jax.Array
    next_observation: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    info: dict


class Toy:
    max_episode_steps = LIMIT
    observation_space = gymnasium.spaces.Box(-10, 10, (2,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def reset(self, key):
        observation = jnp.array([0.0, 1.0]) * jax.random.uniform(key)
        return observation, observation

    def step(self, state, action, key):
        reached = state + jnp.array([1.0, 0.0])
        done = reached[0] >= LIMIT
        fresh, _ = self.reset(key)
        following = jnp.where(done, fresh, reached)
        return following, ToyStep(following, reached, action[0], jnp.array(False), done, {})


def make_program(
    setting=None, *, environment=None, num_envs=8, unroll_length=4, epochs=2, normalize_observation=True, **options
):
    """A small PPO program; `setting` may hold a learning_rate (traced or not)."""
    environment = Toy() if environment is None else environment
    rate = (setting or {}).get("learning_rate", 1e-2)
    learner = ppo.learner(
        policies.policy(environment.action_space, (8,)),
        policies.critic((8,)),
        optax.chain(optax.clip_by_global_norm(0.5), optax.inject_hyperparams(optax.adam)(learning_rate=rate)),
        update_epochs=epochs,
        num_minibatches=2,
        **options,
    )
    if normalize_observation:
        learner = with_running_normalization(learner, on_policy=True)
    source = sources.rollouts(environment, learner, num_envs=num_envs, unroll_length=unroll_length)
    return program_of(source, learner, evaluation.episodes(environment, learner, num_episodes=4))
