"""How well a policy does in whole episodes."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from rlx.algorithms.learner import Learner, policy_of
from rlx.training.interaction import Environment, begin, interaction
from rlx.training.program import check_counts


def episodes(
    environment: Environment, learner: Learner, *, num_episodes: int = 16, max_steps: int | None = None
) -> Callable[[PyTree, PRNGKeyArray], dict[str, Array]]:
    """An evaluator: returns of whole episodes under the deterministic and the exploring policy, side by side.

    Both kinds share one loop over `2 · num_episodes` environments, so that the simulator is compiled once; it ends
    when every first episode has ended, or, in an environment that runs on the host, after all steps of the limit.

    Args:
        environment: one environment; it is vmapped here.
        learner: whose policy.
        num_episodes: episodes of each kind.
        max_steps: where an episode is cut; the default is the environment's own limit.

    Returns:
        `(learner_state, key) -> metrics`: `eval_return_mean`, `eval_return_std`, `eval_episode_length` (deterministic)
        and `eval_stochastic_return_mean`, scalars.

    Raises:
        ValueError: a count below one; neither `max_steps` nor a time limit of the environment bounds an episode.
    """
    check_counts(eval_episodes=num_episodes)
    limit = environment.max_episode_steps if max_steps is None else max_steps
    if limit is None:
        raise ValueError("an environment without max_episode_steps needs max_eval_steps to bound its evaluation")
    policy, count = policy_of(learner), 2 * num_episodes
    is_mode = jnp.arange(count) < num_episodes

    def evaluate(learner_state: PyTree, key: PRNGKeyArray) -> dict[str, Array]:
        def act(observation: PyTree, key: PRNGKeyArray, memory: PyTree):
            sampled, _, explored = policy.act(learner_state, observation, key, memory)
            chosen, remembered = policy.mode(learner_state, observation, memory)
            pick = lambda a, b: jnp.where(is_mode.reshape(count, *[1] * (a.ndim - 1)), a, b)
            return pick(chosen, sampled), {}, jax.tree.map(pick, remembered, explored)

        interact = interaction(environment, act, policy.begin)

        def one_step(carry):
            step, acting, returns, lengths, running = carry
            acting, transition = interact(acting, jax.random.fold_in(step_key, step))
            returns += jnp.where(running, transition.reward, 0.0)
            lengths += running
            running &= ~(transition.terminated | transition.truncated)
            return step + 1, acting, returns, lengths, running

        reset_key, step_key = jax.random.split(key)
        start = begin(environment, reset_key, count, policy.begin)
        carry = (0, start, jnp.zeros(count), jnp.zeros(count), jnp.ones(count, bool))
        if getattr(environment, "host", False):
            # JAX allows no calls of the host in a loop that, under vmap, ends at another time for each seed.
            carry = jax.lax.fori_loop(0, limit, lambda _, carry: one_step(carry), carry)
        else:
            carry = jax.lax.while_loop(lambda carry: (carry[0] < limit) & jnp.any(carry[-1]), one_step, carry)
        *_, returns, lengths, _ = carry
        return {
            "eval_return_mean": jnp.mean(returns[:num_episodes]),
            "eval_return_std": jnp.std(returns[:num_episodes]),
            "eval_episode_length": jnp.mean(lengths[:num_episodes]),
            "eval_stochastic_return_mean": jnp.mean(returns[num_episodes:]),
        }

    return evaluate
