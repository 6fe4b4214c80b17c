"""Fitted Q evaluation: the action values of a given policy, learned from a dataset of others.

References:
    Le, Voloshin, Yue (2019). Batch Policy Learning under Constraints. arXiv:1903.08738.
    Fu, Norouzi, Nachum, Tucker, Wang, Novikov, Yang, Zhang, Chen, Kumar, Paduraru, Levine, Paine (2021). Benchmarks
    for Deep Off-Policy Evaluation. arXiv:2103.16596 (with a slowly moving target).
    Hao, Ji, Duan, Lu, Szepesvári, Wang (2021). Bootstrapping Statistical Inference for Off-Policy Evaluation.
    arXiv:2102.03607 (episodes drawn anew for every member).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rlx.algorithms.actor_critic import descend, polyak
from rlx.algorithms.learner import Learner, Transition, spread_over_devices
from rlx.losses.value import squared_td
from rlx.policies import Network
from rlx.types import Scalar

EvaluatedPolicy = Callable[[PyTree, PRNGKeyArray], Array]
"""`(observation, key) -> action`: the policy whose values are learned, a constant."""

COUNT = "episode_count"
"""Entry of a batch's extras: how often each member has the episode of a transition `[sample, ensemble]`."""


class FQEState(NamedTuple):
    """Everything that fitted Q evaluation learns.

    Attributes:
        params: of the critics; every parameter has the leading axis `[ensemble]`.
        target_params: their slowly moving copies.
        optimizer_state: state of the optimizer.
    """

    params: PyTree
    target_params: PyTree
    optimizer_state: PyTree


def learner(
    critic: Network,
    policy: EvaluatedPolicy,
    optimizer: optax.GradientTransformation,
    *,
    discount: Scalar = 0.99,
    tau: Scalar = 0.005,
    num_actions: int = 1,
) -> Learner:
    """Fitted Q evaluation as a `Learner` that does not act.

    One update is a gradient step of every member b of the ensemble towards its own target::

        y_b = r + γ·(1 − terminated)·mean_j Q̄_b(s', a'_j),     a'_j ~ π(·|s')
        L_b = mean c_b·(Q_b(s, a) − y_b)²

    The members share nothing. Where `batch.extras["episode_count"]` says how often member b has the episode of a
    transition, c_b, they are bootstrap replicates, and their spread is that of the estimate; otherwise c is one, and
    they differ by where they began.

    Args:
        critic: ensemble of action values, such as `rlx.policies.action_critic`.
        policy: `(observation, key) -> action`, whose values are learned.
        optimizer: transformation of the gradient.
        discount: γ.
        tau: how far the target critics move in an update.
        num_actions: actions drawn at the next observation (static); one is enough of a deterministic policy.

    Returns:
        A `Learner` whose state is an `FQEState`.

    Raises:
        ValueError: `num_actions` below one.
    """
    if num_actions < 1:
        raise ValueError(f"num_actions must be at least 1, got {num_actions}")

    def init(key: PRNGKeyArray, example: Transition) -> FQEState:
        observation, action = jax.tree.map(lambda x: x[0], (example.observation, example.action))
        params = critic.init(key, observation, action)
        return FQEState(params, params, optimizer.init(params))

    def update(state: FQEState, batch: Transition, key: PRNGKeyArray) -> tuple[FQEState, dict[str, Array]]:
        batch = spread_over_devices(batch)
        next_value = value(critic, state.target_params, policy, batch.next_observation, key, num_actions=num_actions)
        target = batch.reward + discount * (1.0 - batch.terminated) * next_value
        count = jnp.moveaxis(batch.extras[COUNT], -1, 0) if COUNT in batch.extras else 1.0

        def objective(params: PyTree):
            q = critic.apply(params, batch.observation, batch.action)
            loss = jnp.mean(count * squared_td(q, target), axis=-1)
            return jnp.sum(loss), {"critic_loss": jnp.mean(loss), "q": jnp.mean(q), "target": jnp.mean(target)}

        params, optimizer_state, metrics = descend(optimizer, objective, state.params, state.optimizer_state)
        return FQEState(params, polyak(params, state.target_params, tau), optimizer_state), metrics

    return Learner(init=init, update=update)


def value(
    critic: Network,
    params: PyTree,
    policy: EvaluatedPolicy,
    observation: PyTree,
    key: PRNGKeyArray,
    *,
    num_actions: int = 1,
) -> Float[Array, "ensemble *batch"]:
    """V(s) = mean_j Q(s, a_j), a_j ~ π(·|s), of every member of an ensemble.

    Args:
        critic: ensemble of action values.
        params: its parameters.
        policy: whose actions are drawn.
        observation: s, with leading axes.
        key: random key.
        num_actions: how many actions are drawn (static).
    """
    of_one = lambda key: critic.apply(params, observation, policy(observation, key))
    return jnp.mean(jax.vmap(of_one)(jax.random.split(key, num_actions)), axis=0)
