"""On-policy experience: parallel environments go on, step by step, and every batch is seen once."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from rlx.algorithms.learner import Learner, Transition, policy_of
from rlx.training.interaction import Acting, Environment, begin, interaction, summarize
from rlx.training.program import BY_ENV, Source, check_counts


def rollouts(environment: Environment, learner: Learner, *, num_envs: int, unroll_length: int) -> Source:
    """Rollouts of a learner's exploring policy, `[time, env]`.

    Args:
        environment: one environment; it is vmapped here.
        learner: what acts.
        num_envs: parallel environments.
        unroll_length: steps of each environment per update.

    Returns:
        A `Source` of `Transition`s whose state is an `Acting`.

    Raises:
        ValueError: a count below one, or a learner that does not act.
    """
    check_counts(num_envs=num_envs, unroll_length=unroll_length)
    policy = policy_of(learner)

    def example(key: PRNGKeyArray) -> Transition:
        zeros = jnp.zeros(num_envs)
        observation = begin(environment, key, num_envs).observation
        return Transition(observation, None, zeros, zeros > 0, zeros > 0, observation, {}, policy.begin(num_envs))

    def init(key: PRNGKeyArray, learner_state: PyTree) -> tuple[Acting, PyTree]:
        return begin(environment, key, num_envs, policy.begin), learner_state

    def collect(state: Acting, learner_state: PyTree, key: PRNGKeyArray) -> tuple[Acting, Transition, dict[str, Array]]:
        act = partial(policy.act, learner_state)
        reached, batch = jax.lax.scan(
            interaction(environment, act, policy.begin), state, jax.random.split(key, unroll_length)
        )
        return reached, batch._replace(memory=state.memory), summarize(reached.episodes)

    return Source(example, init, collect, layout=BY_ENV)
