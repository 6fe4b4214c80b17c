"""Decision Transformer: imitation of the data's actions given the return that followed; acting, one asks for a high
one.

References:
    Chen, Lu, Rajeswaran, Lee, Grover, Laskin, Abbeel, Srinivas, Mordatch (2021). Decision Transformer: Reinforcement
    Learning via Sequence Modeling. arXiv:2106.01345.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from rlx import reduce
from rlx.algorithms.actor_critic import descend
from rlx.algorithms.learner import Learner, Transition
from rlx.policies import Network
from rlx.regularizers.behavior import action_distance
from rlx.types import Scalar


class DecisionTransformerState(NamedTuple):
    """Everything that a Decision Transformer learns.

    Attributes:
        params: `{"actor"}`.
        optimizer_state: of its optimizer.
        step: gradient steps taken.
    """

    params: dict[str, PyTree]
    optimizer_state: PyTree
    step: Int[Array, ""]


def learner(
    policy: Network,
    optimizer: optax.GradientTransformation,
    *,
    target_return: Scalar,
    return_scale: Scalar = 1e-3,
) -> Learner:
    """Decision Transformer: L = mean over the steps that are no padding of mean_d (π(R̂_≤t, s_≤t, a_<t) − a_t)².

    Minibatches hold pieces of episodes `[sample, time]`, such as `rlx.data.sample_sequences` draws: their extras
    have `where`, `timestep` and `return_to_go` R̂, the undiscounted sum of rewards to the end of the episode.

    It acts on the latest steps of an episode as `rlx.envs.with_history` observes them, a mapping with `observation`,
    `action`, `past_return`, `timestep` and `where`. What it asks for is R̂_t = target_return − past_return, so
    that R̂_{t+1} = R̂_t − r_t. The policy is deterministic: it acts alike with and without exploration.

    Args:
        policy: network of the action at each step, such as `rlx.policies.decision_transformer`.
        optimizer: transformation of its gradient.
        target_return: return to ask for at the beginning of an episode.
        return_scale: multiplies the returns that the network sees.

    Returns:
        A `Learner` whose state is a `DecisionTransformerState`.
    """

    def sequences(batch: Transition) -> tuple[Array, ...]:
        extras = batch.extras
        return_to_go = return_scale * extras["return_to_go"]
        return batch.observation, batch.action, return_to_go, extras["timestep"], extras["where"]

    def init(key: PRNGKeyArray, example: Transition) -> DecisionTransformerState:
        params = policy.init(key, *sequences(jax.tree.map(lambda x: x[0], example)))
        return DecisionTransformerState({"actor": params}, optimizer.init(params), jnp.zeros((), jnp.int32))

    def mode(state: DecisionTransformerState, observation: Mapping[str, Array]) -> Array:
        return_to_go = return_scale * (target_return - observation["past_return"])
        actions = policy.apply(
            state.params["actor"],
            observation["observation"],
            observation["action"],
            return_to_go,
            observation["timestep"],
            observation["where"],
        )
        return actions[..., -1, :]

    def act(state: DecisionTransformerState, observation: Mapping[str, Array], key: PRNGKeyArray):
        return mode(state, observation), {}

    def update(state: DecisionTransformerState, batch: Transition, key: PRNGKeyArray):
        where = batch.extras["where"]

        def objective(params: PyTree):
            action = policy.apply(params, *sequences(batch), key)
            loss = reduce.mean(action_distance(action, batch.action, where=where), where=where)
            return loss, {"actor_loss": loss}

        params, optimizer_state, metrics = descend(optimizer, objective, state.params["actor"], state.optimizer_state)
        return DecisionTransformerState({"actor": params}, optimizer_state, state.step + 1), metrics

    return Learner(init=init, act=act, mode=mode, update=update)
