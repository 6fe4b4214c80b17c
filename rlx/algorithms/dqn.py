"""Deep Q-learning of finite actions: from a replay with a target network, or in parallel environments without both.

References:
    Mnih et al. (2015). Human-level control through deep reinforcement learning. Nature 518.
    van Hasselt, Guez, Silver (2016). Deep Reinforcement Learning with Double Q-learning. arXiv:1509.06461.
    Kumar, Zhou, Tucker, Levine (2020). Conservative Q-Learning for Offline Reinforcement Learning. arXiv:2006.04779.
    Gallici, Fellows, Ellis, Pou, Masmitja, Foerster, Martin (2024). Simplifying Deep Temporal Difference Learning.
    arXiv:2407.04811.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from rlx import returns
from rlx.algorithms.actor_critic import descend, polyak
from rlx.algorithms.bootstrap import rollout_values
from rlx.algorithms.learner import Learner, Transition, spread_over_devices
from rlx.algorithms.shuffle import random_permutation
from rlx.losses.value import ensemble_target, squared_error
from rlx.policies import Network
from rlx.types import Scalar

LAST_COUNTED_STEP = 1 << 30
"""Where the count of environment steps stands still, so that it cannot overflow: every schedule has ended by then."""

Loss = Callable[[Float[Array, " sample"], Float[Array, " sample"]], Float[Array, " sample"]]
"""`(q, target) -> loss` of each sample."""


class DQNState(NamedTuple):
    """Everything that deep Q-learning learns.

    Attributes:
        params: of the Q-network.
        target_params: of the target network; None without one.
        optimizer_state: state of the optimizer.
        step: gradient steps taken.
        env_steps: environment steps experienced, for the schedule of exploration.
    """

    params: PyTree
    target_params: PyTree
    optimizer_state: PyTree
    step: Int[Array, ""]
    env_steps: Int[Array, ""]


def linear_epsilon(start: Scalar, end: Scalar, steps: Scalar) -> optax.Schedule:
    """ε of ε-greedy actions that goes from `start` to `end` within so many environment steps, and stays there."""
    return lambda env_steps: start + (end - start) * jnp.minimum(env_steps / steps, 1.0)


def epsilon_greedy(
    key: PRNGKeyArray, q: Float[Array, "*batch action"], epsilon: Float[Array, "*#batch"] | float
) -> Int[Array, "*batch"]:
    """The best action, or with probability ε one drawn uniformly from all of them."""
    explore_key, action_key = jax.random.split(key)
    batch, count = q.shape[:-1], q.shape[-1]
    explores = jax.random.uniform(explore_key, batch) < epsilon
    return jnp.where(explores, jax.random.randint(action_key, batch, 0, count), jnp.argmax(q, axis=-1))


def huber(q: Float[Array, " sample"], target: Float[Array, " sample"]) -> Float[Array, " sample"]:
    """½(Q − y)², linear beyond a distance of one: the error of DQN, which is clipped to [−1, 1]."""
    return optax.huber_loss(q, jax.lax.stop_gradient(target))


def learner(
    q_network: Network,
    optimizer: optax.GradientTransformation,
    *,
    discount: Scalar = 0.99,
    double: bool = True,
    target_period: int = 1,
    tau: Scalar = 0.005,
    epsilon: Scalar | optax.Schedule = 0.05,
    reward_scale: Scalar = 1.0,
    loss: Loss = huber,
    conservative_weight: Scalar | None = None,
) -> Learner:
    """A DQN learner, whose minibatches are drawn from a replay, or with a conservative weight from a dataset (CQL).

    One update is one gradient step::

        y  = Σ_{k<m} γ^k·r_k + γ^m·(1 − terminated)·Q̄(s', a'),
        a' = argmax Q(s', ·) if double, else argmax Q̄(s', ·)
        L  = mean loss(Q(s, a), y) + conservative_weight·mean (log Σ_b exp Q(s, b) − Q(s, a))

    and every `target_period` of them Q̄ moves towards Q. The m steps of a transition stand in
    `batch.extras["steps"]`, as a replay with n-step returns gives them; without it m is one.

    Args:
        q_network: values of all actions, such as `rlx.policies.q_network`.
        optimizer: transformation of the gradient.
        discount: γ.
        double: the Q-network chooses the action that the target network values (static).
        target_period: gradient steps between two moves of the target network.
        tau: how far it moves: 1 copies the Q-network every `target_period` steps, as DQN does.
        epsilon: share of random actions, a number or a schedule of the environment steps.
        reward_scale: multiplies rewards.
        loss: of each sample.
        conservative_weight: of the gap by which the soft maximum over all actions exceeds the value of the one that
            was taken (Kumar et al. 2020); None for none.

    Returns:
        A `Learner` whose state is a `DQNState`.
    """

    def update(state: DQNState, batch: Transition, key: PRNGKeyArray):
        del key  # nothing is random
        batch = spread_over_devices(batch)
        next_q = q_network.apply(state.target_params, batch.next_observation)
        chooses = q_network.apply(state.params, batch.next_observation) if double else next_q
        next_value = value_of(next_q, jnp.argmax(chooses, axis=-1))
        gamma = discount ** batch.extras.get("steps", 1)
        target = ensemble_target(reward_scale * batch.reward, gamma * (1.0 - batch.terminated), next_value[None])
        state, metrics = gradient_step(q_network, optimizer, loss, state, batch, target, conservative_weight)
        moved = polyak(state.params, state.target_params, tau)
        is_time = state.step % target_period == 0
        target_params = jax.tree.map(lambda new, old: jnp.where(is_time, new, old), moved, state.target_params)
        return state._replace(target_params=target_params), metrics | {"epsilon": at(epsilon, state)}

    return acting(q_network, optimizer, epsilon, has_target=True)._replace(update=update)


def parallel_learner(
    q_network: Network,
    optimizer: optax.GradientTransformation,
    *,
    discount: Scalar = 0.99,
    lambda_: Scalar = 0.65,
    update_epochs: int = 2,
    num_minibatches: int = 32,
    epsilon: Scalar | optax.Schedule = 0.05,
    reward_scale: Scalar = 1.0,
    loss: Loss = squared_error,
) -> Learner:
    """A PQN learner, whose batches are rollouts of parallel environments.

    It has neither a replay nor a target network: layer normalization in the Q-network keeps learning stable. Targets
    are computed once for a rollout, with V(s) = max_a Q(s, a)::

        G_t = r_t + γ·(1 − terminated_t)·((1 − λ)·V(s'_t) + λ·G_{t+1}),   G_{t+1} = V(s'_t) at the end of the rollout
                                                                          and where an episode was cut
        L   = mean loss(Q(s, a), G)

    Args:
        q_network: values of all actions, such as `rlx.policies.q_network` with `layer_norm=True`.
        optimizer: transformation of the gradient.
        discount: γ.
        lambda_: λ of the targets.
        update_epochs: passes over a rollout (static).
        num_minibatches: minibatches of each pass; divides `time · env` (static).
        epsilon: share of random actions, a number or a schedule of the environment steps.
        reward_scale: multiplies rewards.
        loss: of each sample.

    Returns:
        A `Learner` whose state is a `DQNState`.

    Raises:
        ValueError: counts below one; minibatches that do not divide a rollout.
    """
    if update_epochs < 1 or num_minibatches < 1:
        raise ValueError(f"update_epochs and num_minibatches must be at least 1: {update_epochs}, {num_minibatches}")

    def lambda_target(state: DQNState, batch: Transition) -> Float[Array, "time env"]:
        value, next_value = rollout_values(
            lambda observation: jnp.max(q_network.apply(state.params, observation), axis=-1),
            batch.observation,
            batch.next_observation,
            batch.terminated,
            batch.truncated,
        )
        advantage = returns.gae(
            reward_scale * batch.reward,
            discount * (1.0 - batch.terminated),
            value,
            next_value,
            lambda_=lambda_,
            truncation=batch.truncated,
        )
        return advantage + value

    def update(state: DQNState, batch: Transition, key: PRNGKeyArray):
        size = batch.reward.size
        if size % num_minibatches:
            raise ValueError(f"num_minibatches must divide the {size} samples of a rollout, got {num_minibatches}")
        samples = (batch._replace(extras={}, memory=None), lambda_target(state, batch))
        samples = jax.tree.map(lambda x: x.reshape(size, *x.shape[2:]), samples)

        def minibatch_step(state: DQNState, index: Int[Array, " sample"]):
            minibatch, target = spread_over_devices(jax.tree.map(lambda x: x[index], samples))
            return gradient_step(q_network, optimizer, loss, state, minibatch, target)

        shuffled = jax.vmap(lambda key: random_permutation(key, size))(jax.random.split(key, update_epochs))
        shuffled = shuffled.reshape(update_epochs * num_minibatches, -1)
        state, metrics = jax.lax.scan(minibatch_step, state, shuffled)
        return state, jax.tree.map(jnp.mean, metrics) | {"epsilon": at(epsilon, state)}

    return acting(q_network, optimizer, epsilon, has_target=False)._replace(update=update)


def acting(
    q_network: Network,
    optimizer: optax.GradientTransformation,
    epsilon: Scalar | optax.Schedule,
    *,
    has_target: bool,
) -> Learner:
    """What both learners share: a Q-network that acts ε-greedily and counts what was experienced; no update."""

    def init(key: PRNGKeyArray, example: Transition) -> DQNState:
        params = q_network.init(key, jax.tree.map(lambda x: x[0], example.observation))
        zero = jnp.zeros((), jnp.int32)
        return DQNState(params, params if has_target else None, optimizer.init(params), zero, zero)

    def act(state: DQNState, observation: PyTree, key: PRNGKeyArray):
        return epsilon_greedy(key, q_network.apply(state.params, observation), at(epsilon, state)), {}

    def mode(state: DQNState, observation: PyTree) -> Array:
        return jnp.argmax(q_network.apply(state.params, observation), axis=-1)

    def log_prob(state: DQNState, observation: PyTree, action: Array) -> Array:
        q, share = q_network.apply(state.params, observation), at(epsilon, state)
        return jnp.log((1 - share) * (action == jnp.argmax(q, axis=-1)) + share / q.shape[-1])

    def observe(state: DQNState, experience: Transition | None) -> DQNState:
        if experience is None:  # of a dataset
            return state
        return state._replace(env_steps=jnp.minimum(state.env_steps + experience.reward.size, LAST_COUNTED_STEP))

    return Learner(init=init, update=None, act=act, mode=mode, observe=observe, log_prob=log_prob)


def gradient_step(
    q_network: Network,
    optimizer: optax.GradientTransformation,
    loss: Loss,
    state: DQNState,
    batch: Transition,
    target: Float[Array, " sample"],
    conservative_weight: Scalar | None = None,
) -> tuple[DQNState, dict[str, Array]]:
    """One step of the Q-network towards the targets of a minibatch, and down the conservative gap where it counts."""

    def objective(params: PyTree):
        of_all = q_network.apply(params, batch.observation)
        q = value_of(of_all, batch.action)
        value = jnp.mean(loss(q, target))
        metrics = {"critic_loss": value, "q": jnp.mean(q), "target": jnp.mean(target)}
        if conservative_weight is None:
            return value, metrics
        gap = jnp.mean(jax.nn.logsumexp(of_all, axis=-1) - q)
        return value + conservative_weight * gap, metrics | {"conservative_gap": gap}

    params, optimizer_state, metrics = descend(optimizer, objective, state.params, state.optimizer_state)
    return state._replace(params=params, optimizer_state=optimizer_state, step=state.step + 1), metrics


def value_of(q: Float[Array, "*batch action"], action: Int[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The value of one action of each element."""
    return jnp.take_along_axis(q, action[..., None], axis=-1)[..., 0]


def at(epsilon: Scalar | optax.Schedule, state: DQNState) -> Scalar:
    """ε where the run stands."""
    return epsilon(state.env_steps) if callable(epsilon) else jnp.asarray(epsilon)
