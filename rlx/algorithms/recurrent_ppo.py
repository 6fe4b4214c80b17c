"""Proximal policy optimization of policies that remember: whole sequences of a rollout in place of single steps.

References:
    Schulman et al., 2017, "Proximal Policy Optimization Algorithms", arXiv:1707.06347.
    Ni, Eysenbach, Salakhutdinov, 2022, "Recurrent Model-Free RL Can Be a Strong Baseline for Many POMDPs",
    arXiv:2110.05038.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, PyTree

from rlx.algorithms import ppo
from rlx.algorithms.learner import Learner, Transition
from rlx.policies import Network, Recurrent
from rlx.policies.recurrent import begun


class Sequences(NamedTuple):
    """Steps of some environments in a row, of which a recurrent torso can compute the features anew.

    Attributes:
        steps: a `Minibatch` whose leaves are `[env, time, ...]`.
        first: where an episode begins, `[env, time]`.
        memory: before the first step, `[env, ...]`.
    """

    steps: ppo.Minibatch
    first: Bool[Array, "*env time"]
    memory: PyTree


def learner(
    policy: Network, critic: Network, optimizer: optax.GradientTransformation, *, torso: Recurrent, **options: Any
) -> Learner:
    """PPO with a memory, as a `Learner`.

    A minibatch holds whole environments: their unrolls are computed anew from the memory that acted at the beginning
    of the rollout, which a pass over the batch leaves as it was. Memories begin anew where an episode does.

    Args:
        policy: `init`/`apply` of the policy on features; `apply` returns an `ActionDistribution`.
        critic: `init`/`apply` of the value function on features.
        optimizer: transformation of the gradient of `{"torso", "policy", "critic"}`.
        torso: remembers for both. For a memory of its own each, `rlx.policies.side_by_side` of two, of whose pair of
            features policy and critic see their own by `rlx.policies.seeing`.
        **options: further keywords of `rlx.algorithms.ppo.learner`; `num_minibatches` divides the environments.

    Returns:
        A `Learner` whose state is a `PPOState`.
    """
    return ppo.learner(policy, critic, optimizer, torso=over_sequences(torso), **options)


def over_sequences(torso: Recurrent) -> ppo.Torso:
    """A recurrent network as the torso of PPO.

    Args:
        torso: of observations.
    """

    def recall(params: PyTree, batch: Transition) -> tuple[PyTree, PyTree]:
        first = beginnings(batch)
        after, _ = torso.unroll(params, batch.memory, batch.observation, first)
        before = jax.tree.map(lambda start, x: jnp.concatenate([start[None], x[:-1]]), batch.memory, after)
        # What a step reached was seen before any reset, with all that its episode left behind.
        return begun(first, torso.begin(first.shape[1]), before), after

    def parts(batch: Transition, minibatch: ppo.Minibatch) -> Sequences:
        by_env = lambda x: x.swapaxes(0, 1)
        sequences = Sequences(jax.tree.map(by_env, minibatch), by_env(beginnings(batch)), batch.memory)
        return jax.tree.map(lambda x: x[None], sequences)

    def open_(part: Sequences) -> ppo.Minibatch:
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), part.steps)

    def features(params: PyTree, part: Sequences) -> PyTree:
        observation, first = jax.tree.map(lambda x: x.swapaxes(0, 1), (part.steps.observation, part.first))
        _, x = torso.unroll(params, part.memory, observation, first)
        return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), x)

    return ppo.Torso(torso.init, torso.step, recall, parts, open_, features, torso.begin)


def beginnings(batch: Transition) -> Bool[Array, "time env"]:
    """Where the steps of a rollout begin an episode; its first ones come with the memory that they need."""
    done = batch.terminated | batch.truncated
    return jnp.concatenate([jnp.zeros_like(done[:1]), done[:-1]])
