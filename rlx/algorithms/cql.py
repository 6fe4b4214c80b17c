"""CQL and Cal-QL: SAC whose critics are pushed down where the data have no actions.

References:
    Kumar, Zhou, Tucker, Levine (2020). Conservative Q-Learning for Offline Reinforcement Learning. arXiv:2006.04779.
    Nakamoto, Zhai, Singh, Mark, Ma, Finn, Kumar, Levine (2023). Cal-QL: Calibrated Offline RL Pre-Training for
    Efficient Online Fine-Tuning. arXiv:2303.05479.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rlx.algorithms import sac
from rlx.algorithms.actor_critic import ActorCriticState, Auxiliary, GradientStep, Slots, descend
from rlx.algorithms.learner import Learner, Transition
from rlx.losses.value import conservative_q
from rlx.policies import Network
from rlx.types import Scalar

# The multiplier of the Lagrangian form may not run away where the gap cannot be closed.
_MAX_MULTIPLIER = 1e6


class Multiplier(NamedTuple):
    """Logarithm of the multiplier of CQL's Lagrangian form, and the state of its optimizer."""

    log_value: Float[Array, ""]
    optimizer_state: PyTree


def learner(
    policy: Network,
    critic: Network,
    actor_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    temperature_optimizer: optax.GradientTransformation,
    *,
    low: Float[Array, " action"] | float = -1.0,
    high: Float[Array, " action"] | float = 1.0,
    weight: Scalar = 10.0,
    num_actions: int = 10,
    gap_temperature: Scalar = 1.0,
    importance: bool = True,
    calibrated: bool = False,
    gap_target: Scalar | None = None,
    multiplier_optimizer: optax.GradientTransformation | None = None,
    max_target_backup: bool = False,
    backup_entropy: bool = False,
    added: Sequence[Slots] = (),
    **settings,
) -> Learner:
    """CQL: SAC with L_Q = Σ_i mean (Q_i(s, a) − y)² + weight·mean gap_i.

    The gap (`rlx.losses.value.conservative_q`) is how much the soft maximum over actions, of which `num_actions`
    are uniform, as many are π(·|s)'s and as many π(·|s')'s, exceeds the value of the data's action.

    Args:
        policy: network that gives an `ActionDistribution`.
        critic: ensemble of action values.
        actor_optimizer: transformation of the policy's gradient.
        critic_optimizer: transformation of the critics' gradient.
        temperature_optimizer: transformation of the gradient of log α.
        low: smallest action.
        high: largest action.
        weight: weight of the gap; 0 is SAC.
        num_actions: actions of each of the three kinds (static).
        gap_temperature: of the soft maximum.
        importance: correct for the densities that the actions were drawn with (static).
        calibrated: Cal-QL: no value of the policy's actions is pushed below `return_to_go` of the batch's extras, in
            the scale of the rewards and with the discount (static).
        gap_target: the Lagrangian form: a multiplier of the weight is trained until the gap is this; None for none.
        multiplier_optimizer: transformation of the gradient of the multiplier's logarithm; None for that of the
            critics.
        max_target_backup: targets take the best of `num_actions` next actions (static).
        backup_entropy: targets hold the entropy of the next action (static).
        added: slots of further methods.
        **settings: the others of `rlx.algorithms.sac.learner`.
    """
    optimizer = critic_optimizer if multiplier_optimizer is None else multiplier_optimizer

    def next_value(state: ActorCriticState, batch: Transition, key: PRNGKeyArray) -> tuple[Array, Array]:
        """The value of the best of some next actions, and this action."""
        distribution = policy.apply(state.params["actor"], batch.next_observation)
        raw = distribution.base.rsample(key, (num_actions if max_target_backup else 1,))
        actions, log_prob = distribution.action(raw), distribution.log_prob(raw)
        q = jnp.min(critic.apply(state.target_params["critic"], batch.next_observation, actions), axis=0)
        best = jnp.argmax(q, axis=0, keepdims=True)
        value, log_prob = (jnp.take_along_axis(x, best, axis=0)[0] for x in (q, log_prob))
        if backup_entropy:
            value -= jnp.exp(state.params["log_temperature"]) * log_prob
        return value, jnp.take_along_axis(actions, best[..., None], axis=0)[0]

    def conservative(step: GradientStep) -> Float[Array, "ensemble sample"]:
        batch, value = step.batch, partial(critic.apply, step.state.params["critic"])
        random_key, *policy_keys = jax.random.split(step.key, 3)
        uniform = jax.random.uniform(random_key, (num_actions, *batch.action.shape), batch.action.dtype)
        random_q = value(batch.observation, low + (high - low) * uniform)
        extent = jnp.broadcast_to(jnp.asarray(high - low, batch.action.dtype), batch.action.shape[-1:])
        samples = []
        for observation, key in zip((batch.observation, batch.next_observation), policy_keys):
            distribution = policy.apply(step.state.params["actor"], observation)
            raw = distribution.base.sample(key, (num_actions,))
            action = jax.lax.stop_gradient(distribution.action(raw))
            samples.append((value(batch.observation, action), distribution.log_prob(raw)))
        policy_q, policy_log_prob = (jnp.concatenate(parts, axis=-2) for parts in zip(*samples))
        gap = conservative_q(
            step.q,
            jnp.moveaxis(random_q, -2, -1),
            jnp.moveaxis(policy_q, -2, -1),
            random_log_prob=-jnp.sum(jnp.log(extent)),
            policy_log_prob=jnp.moveaxis(policy_log_prob, -2, -1),
            lower_bound=batch.extras["return_to_go"] if calibrated else None,
            temperature=gap_temperature,
            importance=importance,
        )
        if gap_target is None:
            return weight * gap
        return _multiplier(step.state.auxiliary.log_value) * weight * (gap - gap_target)

    def init(key: PRNGKeyArray, example: Transition) -> Multiplier:
        log_value = jnp.ones((), example.reward.dtype)
        return Multiplier(log_value, optimizer.init(log_value))

    def update(multiplier: Multiplier, step: GradientStep):
        excess = jnp.sum(jnp.mean(step.penalty, axis=-1)) / jnp.maximum(_multiplier(multiplier.log_value), 1e-8)

        def objective(log_value: Array):
            return -0.5 * _multiplier(log_value) * excess, {"multiplier": _multiplier(log_value)}

        log_value, optimizer_state, metrics = descend(
            optimizer, objective, multiplier.log_value, multiplier.optimizer_state
        )
        return Multiplier(log_value, optimizer_state), None, metrics

    own = Slots(
        next_value=next_value,
        critic_penalty=conservative,
        auxiliary=None if gap_target is None else Auxiliary(init, update),
    )
    return sac.learner(
        policy, critic, actor_optimizer, critic_optimizer, temperature_optimizer, added=(own, *added), **settings
    )


def _multiplier(log_value: Array) -> Array:
    return jnp.clip(jnp.exp(log_value), 0.0, _MAX_MULTIPLIER)
