"""Twin delayed deterministic policy gradient, and with its slots the offline methods that are built on it.

References:
    Fujimoto, van Hoof, Meger (2018). Addressing Function Approximation Error in Actor-Critic Methods. arXiv:1802.09477.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, PRNGKeyArray, PyTree

from rlx.algorithms.actor_critic import (
    ENSEMBLE_VALUES,
    ActorCriticState,
    Auxiliary,
    GradientStep,
    Penalty,
    Slots,
    combined,
    critic_objective,
    first_member,
    improve,
    minibatches,
    polyak,
)
from rlx.algorithms.learner import Learner, Transition
from rlx.losses.policy import value_maximization
from rlx.losses.value import ensemble_target
from rlx.policies import Network, target_policy_smoothing
from rlx.types import Scalar, check_choice


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
    value_scale: Scalar | None = None,
    actor_q: str = "first",
    target_penalty: Penalty | None = None,
    critic_penalty: Penalty | None = None,
    actor_penalty: Penalty | None = None,
    auxiliary: Auxiliary | None = None,
    added: Sequence[Slots] = (),
) -> Learner:
    """A TD3 learner, on-line or from a dataset.

    One update is `policy_delay` steps of the critics, each on a minibatch of its own, then one step of the actor and
    of all target networks::

        a'      = clip(π̄(s') + clip(ε, −c, c), low, high)
        y       = r + γ·(1 − terminated)·(min_i Q̄_i(s', a') − target_penalty)
        L_Q     = Σ_i mean (Q_i(s, a) − y)² + critic_penalty
        L_π     = mean −λ·Q_1(s, π(s)) + actor_penalty,   λ = 1, or value_scale / mean |Q_1(s, π(s))|

    The slots are functions of a `rlx.algorithms.actor_critic.GradientStep`. With `value_scale=2.5` and an
    `actor_penalty` of `action_distance(step.action, step.batch.action)` it is TD3+BC.

    Args:
        actor: network that gives an action within the bounds, such as `rlx.policies.deterministic`.
        critic: ensemble of action values, such as `rlx.policies.action_critic`.
        actor_optimizer: transformation of the actor's gradient.
        critic_optimizer: transformation of the critics' gradient.
        low: smallest action, a number or an array `[action]`.
        high: largest action.
        discount: γ.
        tau: how far the target networks move towards the networks in an update.
        policy_delay: critic steps, and minibatches, of one update (static).
        smoothing_std: standard deviation of the noise on the target policy, in units of half the action's range.
        smoothing_clip: its largest value c, in the same units.
        exploration_std: standard deviation of the noise on actions taken, in the same units.
        reward_scale: multiplies rewards.
        value_scale: mean absolute size of the actor's loss; None leaves values as they are.
        actor_q: value that the actor maximizes: of the `"first"` critic, the `"min"` or the `"mean"` (static).
        target_penalty: taken from the value of the next action `[sample]`.
        critic_penalty: added to the critics' loss, `[sample]` or `[ensemble, sample]`.
        actor_penalty: added to the actor's loss `[sample]`.
        auxiliary: further models, trained after each step of the critics.
        added: slots of further methods, which are added to these, such as `rlx.algorithms.bisimulation.slots`.

    Returns:
        A `Learner` whose state is an `ActorCriticState`; it takes `policy_delay` minibatches, one after the other
        along the leading axis, for an update.

    Raises:
        ValueError: an unknown `actor_q`; `policy_delay` below one; a batch that it does not divide.
    """
    check_choice("actor_q", actor_q, tuple(ENSEMBLE_VALUES))
    if policy_delay < 1:
        raise ValueError(f"policy_delay must be at least 1, got {policy_delay}")
    low, high = jnp.asarray(low), jnp.asarray(high)
    given = Slots(target_penalty, critic_penalty, actor_penalty, auxiliary)
    target_penalty, critic_penalty, actor_penalty, auxiliary = combined(given, *added)

    def init(key: PRNGKeyArray, example: Transition) -> ActorCriticState:
        actor_key, critic_key, auxiliary_key = jax.random.split(key, 3)
        one = jax.tree.map(lambda x: x[0], example.observation)
        params = {"actor": actor.init(actor_key, one)}
        action = actor.apply(params["actor"], example.observation)
        params["critic"] = critic.init(critic_key, one, action[0])
        return ActorCriticState(
            params=params,
            target_params=params,
            optimizer_state={
                "actor": actor_optimizer.init(params["actor"]),
                "critic": critic_optimizer.init(params["critic"]),
            },
            auxiliary=None if auxiliary is None else auxiliary.init(auxiliary_key, example._replace(action=action)),
            step=jnp.zeros((), jnp.int32),
        )

    def mode(state: ActorCriticState, observation: PyTree) -> Array:
        return actor.apply(state.params["actor"], observation)

    def act(state: ActorCriticState, observation: PyTree, key: PRNGKeyArray):
        noisy = target_policy_smoothing(
            key, mode(state, observation), std=exploration_std, clip=jnp.inf, low=low, high=high
        )
        return noisy, {}

    def critic_step(state: ActorCriticState, batch: Transition, key: PRNGKeyArray):
        smoothing_key, target_key, critic_key, auxiliary_key = jax.random.split(key, 4)
        next_action = target_policy_smoothing(
            smoothing_key,
            actor.apply(state.target_params["actor"], batch.next_observation),
            std=smoothing_std,
            clip=smoothing_clip,
            low=low,
            high=high,
        )
        seen = GradientStep(
            batch=batch,
            critic=partial(critic.apply, state.params["critic"]),
            critic_params=state.params["critic"],
            policy=partial(actor.apply, state.params["actor"]),
            step=state.step,
            auxiliary=state.auxiliary,
            next_action=next_action,
        )
        target = ensemble_target(
            reward_scale * batch.reward,
            discount * (1.0 - batch.terminated),
            critic.apply(state.target_params["critic"], batch.next_observation, next_action),
            penalty=0.0 if target_penalty is None else target_penalty(seen._replace(key=target_key)),
        )
        seen = seen._replace(target=target)

        objective = critic_objective(critic, seen, critic_penalty, critic_key)
        state, (metrics, penalty) = improve(state, "critic", critic_optimizer, objective)
        state = state._replace(step=state.step + 1)
        critic_params = state.params["critic"]
        seen = seen._replace(critic=partial(critic.apply, critic_params), critic_params=critic_params, penalty=penalty)
        if auxiliary is not None:
            models, notes, measures = auxiliary.update(state.auxiliary, seen._replace(key=auxiliary_key))
            state, seen = state._replace(auxiliary=models), seen._replace(auxiliary=models, notes=notes)
            metrics |= measures
        return state, seen, metrics

    def actor_step(state: ActorCriticState, seen: GradientStep, key: PRNGKeyArray):
        # A critic whose value does not count would cost as much as the one that does.
        counting = first_member(seen.critic_params) if actor_q == "first" else seen.critic_params

        def objective(params: PyTree):
            action = actor.apply(params, seen.batch.observation)
            q = critic.apply(counting, seen.batch.observation, action)
            loss = jnp.mean(value_maximization(ENSEMBLE_VALUES[actor_q](q), alpha=value_scale))
            metrics = {"actor_loss": loss}
            if actor_penalty is not None:
                policy = partial(actor.apply, params)
                penalty = actor_penalty(seen._replace(policy=policy, action=action, q=q, key=key))
                metrics["actor_penalty"] = jnp.mean(penalty)
            return sum(metrics.values()), metrics

        return improve(state, "actor", actor_optimizer, objective)

    def update(state: ActorCriticState, batch: Transition, key: PRNGKeyArray):
        measured = []
        for minibatch, step_key in zip(minibatches(batch, policy_delay), jax.random.split(key, policy_delay)):
            critic_key, actor_key = jax.random.split(step_key)
            state, seen, metrics = critic_step(state, minibatch, critic_key)
            measured.append(metrics)
        state, actor_metrics = actor_step(state, seen, actor_key)
        state = state._replace(target_params=polyak(state.params, state.target_params, tau))
        return state, jax.tree.map(lambda *x: sum(x) / policy_delay, *measured) | actor_metrics

    return Learner(init=init, act=act, mode=mode, update=update, minibatches=policy_delay)
