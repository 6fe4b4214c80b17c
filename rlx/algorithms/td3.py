"""Twin delayed deterministic policy gradient.

References:
    Fujimoto, van Hoof, Meger (2018). Addressing Function Approximation Error in Actor-Critic Methods. arXiv:1802.09477.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, PRNGKeyArray, PyTree

from rlx.algorithms.actor_critic import (
    ActorCriticState,
    GradientStep,
    Slots,
    combined,
    first_value,
    improve_actor,
    improve_critics,
    initial_state,
    minibatches,
    move_targets,
)
from rlx.algorithms.learner import Learner, Transition
from rlx.losses.policy import value_maximization
from rlx.policies import Network, target_policy_smoothing
from rlx.types import Scalar


def learner(
    actor: Network,
    critic: Network,
    actor_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    *,
    low: ArrayLike = -1.0,
    high: ArrayLike = 1.0,
    discount: Scalar = 0.99,
    tau: Scalar = 0.005,
    policy_delay: int = 2,
    smoothing_std: Scalar = 0.2,
    smoothing_clip: Scalar = 0.5,
    exploration_std: Scalar = 0.1,
    reward_scale: Scalar = 1.0,
    added: Sequence[Slots] = (),
) -> Learner:
    """A TD3 learner.

    One update is `policy_delay` steps of the critics, each on a minibatch of its own, then one step of the actor and
    of all target networks::

        a'      = clip(π̄(s') + clip(ε, −c, c), low, high)
        y       = r + γ·(1 − terminated)·min_i Q̄_i(s', a')
        L_Q     = Σ_i mean (Q_i(s, a) − y)²
        L_π     = mean −Q_1(s, π(s))
        Q̄, π̄    ← τ·(Q, π) + (1 − τ)·(Q̄, π̄)

    `rlx.algorithms.td3_bc`, `rebrac`, `prdc` and `a2pr` add to it.

    Args:
        actor: network that gives an action within the bounds, such as `rlx.policies.deterministic`.
        critic: ensemble of action values, such as `rlx.policies.action_critic`.
        actor_optimizer: transformation of the actor's gradient.
        critic_optimizer: transformation of the critics' gradient.
        low: smallest action, a number or an array `[action]`.
        high: largest action.
        discount: γ.
        tau: τ, how far the target networks move towards the networks in an update.
        policy_delay: critic steps, and minibatches, of one update (static).
        smoothing_std: standard deviation of the noise on the target policy, in units of half the action's range.
        smoothing_clip: its largest value c, in the same units.
        exploration_std: standard deviation of the noise on actions taken, in the same units.
        reward_scale: multiplies rewards.
        added: what methods that are built on TD3 put into it, such as `rlx.algorithms.bisimulation.slots`.

    Returns:
        A `Learner` whose state is an `ActorCriticState`; it takes `policy_delay` minibatches, one after the other
        along the leading axis, for an update.

    Raises:
        ValueError: `policy_delay` below one; a batch that it does not divide; what is added is no `Slots`.
    """
    if policy_delay < 1:
        raise ValueError(f"policy_delay must be at least 1, got {policy_delay}")
    low, high = jnp.asarray(low), jnp.asarray(high)
    slots = combined(*added)

    def init(key: PRNGKeyArray, example: Transition) -> ActorCriticState:
        actor_key, critic_key, auxiliary_key = jax.random.split(key, 3)
        one = jax.tree.map(lambda x: x[0], example.observation)
        params = {"actor": actor.init(actor_key, one)}
        action = actor.apply(params["actor"], example.observation)
        params["critic"] = critic.init(critic_key, one, action[0])
        optimizers = {"actor": actor_optimizer, "critic": critic_optimizer}
        auxiliary = slots.auxiliary and slots.auxiliary.init(auxiliary_key, example._replace(action=action))
        return initial_state(params, optimizers, targets=("actor", "critic"), auxiliary=auxiliary)

    def mode(state: ActorCriticState, observation: PyTree) -> Array:
        return actor.apply(state.params["actor"], observation)

    def act(state: ActorCriticState, observation: PyTree, key: PRNGKeyArray):
        noisy = target_policy_smoothing(
            key, mode(state, observation), std=exploration_std, clip=jnp.inf, low=low, high=high
        )
        return noisy, {}

    def next_value(state: ActorCriticState, batch: Transition, key: PRNGKeyArray) -> tuple[Array, Array]:
        """min_i Q̄_i(s', a'), and a'."""
        action = actor.apply(state.target_params["actor"], batch.next_observation)
        action = target_policy_smoothing(key, action, std=smoothing_std, clip=smoothing_clip, low=low, high=high)
        q = critic.apply(state.target_params["critic"], batch.next_observation, action)
        return jnp.min(q, axis=0), action

    def actor_loss(step: GradientStep) -> Array:
        """−Q_1(s, π(s))."""
        return value_maximization(first_value(critic, step))

    def update(state: ActorCriticState, batch: Transition, key: PRNGKeyArray):
        measured = []
        for minibatch, step_key in zip(minibatches(batch, policy_delay), jax.random.split(key, policy_delay)):
            critic_key, actor_key = jax.random.split(step_key)
            step, metrics = improve_critics(
                critic, critic_optimizer, next_value, slots, state, minibatch, critic_key,
                discount=discount, reward_scale=reward_scale,
            )  # fmt: skip
            state = step.state
            measured.append(metrics)
        metrics = jax.tree.map(lambda *x: sum(x) / policy_delay, *measured)
        choose = lambda params: (actor.apply(params, step.batch.observation), None)
        state, actor_metrics = improve_actor(actor_optimizer, choose, actor_loss, slots, step._replace(key=actor_key))
        return move_targets(state, tau), metrics | actor_metrics

    return Learner(init=init, act=act, mode=mode, update=update, minibatches=policy_delay)
