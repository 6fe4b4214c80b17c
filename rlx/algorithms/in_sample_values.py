"""What weighted behavior cloning learns beside its policy: values that say how good the data's actions are."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree

from rlx.algorithms.actor_critic import ActorCriticState, improve, polyak
from rlx.algorithms.learner import Transition
from rlx.losses import value as value_losses
from rlx.losses.value import dice_value, ensemble_target, squared_td
from rlx.policies import Network
from rlx.transforms import orthogonalize
from rlx.types import Scalar, check_choice


class Values(NamedTuple):
    """The value slot: what is learned beside the policy, and what it says of the data's actions.

    Attributes:
        init: `(key, example) -> ActorCriticState` of the values alone; `example` is a `Transition` with actions and
            one leading axis.
        update: `(state, batch, policy, key) -> (state, advantage, metrics)`, one step of the values and their targets.
            `policy` is `observation -> ActionDistribution`, a constant; `advantage` is `[sample]` or, with one for
            each member of an ensemble, `[ensemble, sample]`.
    """

    init: Callable[[PRNGKeyArray, Transition], ActorCriticState]
    update: Callable[..., tuple[ActorCriticState, Array, dict[str, Array]]]


def expectile_values(
    value: Network,
    critic: Network,
    value_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    *,
    expectile: Scalar = 0.7,
    discount: Scalar = 0.99,
    tau: Scalar = 0.005,
    reward_scale: Scalar = 1.0,
) -> Values:
    """Values of implicit Q-learning, which never value an action that the data do not hold::

        A   = min_i Q̄_i(s, a) − V(s)
        L_V = mean |τ − 1[A < 0]|·A²
        L_Q = mean_i mean (Q_i(s, a) − (r + γ·(1 − terminated)·V(s')))²

    Args:
        value: state value, such as `rlx.policies.critic`.
        critic: ensemble of action values, such as `rlx.policies.action_critic`.
        value_optimizer: transformation of the value's gradient.
        critic_optimizer: transformation of the critics' gradient.
        expectile: τ of the expectile; ½ is the mean.
        discount: γ.
        tau: how far the target critics move in an update.
        reward_scale: multiplies rewards.

    References:
        Kostrikov, Nair, Levine (2021). Offline Reinforcement Learning with Implicit Q-Learning. arXiv:2110.06169.
    """

    def init(key: PRNGKeyArray, example: Transition) -> ActorCriticState:
        value_key, critic_key = jax.random.split(key)
        observation, action = jax.tree.map(lambda x: x[0], (example.observation, example.action))
        params = {"value": value.init(value_key, observation), "critic": critic.init(critic_key, observation, action)}
        return _values_state(params, {"value": value_optimizer, "critic": critic_optimizer}, targets=("critic",))

    def update(state: ActorCriticState, batch: Transition, policy, key: PRNGKeyArray):
        next_value = value.apply(state.params["value"], batch.next_observation)
        q = jnp.min(critic.apply(state.target_params["critic"], batch.observation, batch.action), axis=0)
        advantage = q - value.apply(state.params["value"], batch.observation)

        def value_objective(params: PyTree):
            loss = jnp.mean(value_losses.expectile(value.apply(params, batch.observation), q, expectile=expectile))
            return loss, {"value_loss": loss}

        target = ensemble_target(reward_scale * batch.reward, discount * (1.0 - batch.terminated), next_value[None])

        def critic_objective(params: PyTree):
            q = critic.apply(params, batch.observation, batch.action)
            loss = jnp.mean(squared_td(q, target))
            return loss, {"critic_loss": loss, "q": jnp.mean(q)}

        state, value_metrics = improve(state, "value", value_optimizer, value_objective)
        state, critic_metrics = improve(state, "critic", critic_optimizer, critic_objective)
        return _move_targets(state, tau), advantage, value_metrics | critic_metrics

    return Values(init, update)


def policy_values(
    critic: Network,
    critic_optimizer: optax.GradientTransformation,
    *,
    discount: Scalar = 0.99,
    tau: Scalar = 0.005,
    reward_scale: Scalar = 1.0,
) -> Values:
    """Values of the policy itself, as AWAC has them::

        L_Q = Σ_i mean (Q_i(s, a) − (r + γ·(1 − terminated)·min_j Q̄_j(s', a')))²,     a' ~ π(·|s')
        A   = min_i Q_i(s, a) − min_i Q_i(s, ã),                                       ã ~ π(·|s)

    The advantage is that of the critics after their step.

    Args:
        critic: ensemble of action values, such as `rlx.policies.action_critic`.
        critic_optimizer: transformation of the critics' gradient.
        discount: γ.
        tau: how far the target critics move in an update.
        reward_scale: multiplies rewards.

    References:
        Nair, Gupta, Dalal, Levine (2020). AWAC: Accelerating Online Reinforcement Learning with Offline Datasets.
        arXiv:2006.09359.
    """

    def init(key: PRNGKeyArray, example: Transition) -> ActorCriticState:
        observation, action = jax.tree.map(lambda x: x[0], (example.observation, example.action))
        params = {"critic": critic.init(key, observation, action)}
        return _values_state(params, {"critic": critic_optimizer}, targets=("critic",))

    def update(state: ActorCriticState, batch: Transition, policy, key: PRNGKeyArray):
        next_key, now_key = jax.random.split(key)
        next_policy, policy_now = policy(batch.next_observation), policy(batch.observation)
        next_action = next_policy.action(next_policy.sample(next_key))
        target = ensemble_target(
            reward_scale * batch.reward,
            discount * (1.0 - batch.terminated),
            critic.apply(state.target_params["critic"], batch.next_observation, next_action),
        )

        def objective(params: PyTree):
            q = critic.apply(params, batch.observation, batch.action)
            loss = jnp.sum(jnp.mean(squared_td(q, target), axis=-1))
            return loss, {"critic_loss": loss, "q": jnp.mean(q)}

        state, metrics = improve(state, "critic", critic_optimizer, objective)
        smallest = lambda action: jnp.min(critic.apply(state.params["critic"], batch.observation, action), axis=0)
        advantage = smallest(batch.action) - smallest(policy_now.action(policy_now.sample(now_key)))
        return _move_targets(state, tau), advantage, metrics

    return Values(init, update)


def dice_values(
    value: Network,
    value_optimizer: optax.GradientTransformation,
    *,
    lambda_: Scalar = 0.6,
    eta: Scalar = 1.0,
    divergence: str = "pearson",
    gradient: str = "orthogonal",
    discount: Scalar = 0.99,
    tau: Scalar = 0.005,
    reward_scale: Scalar = 1.0,
) -> Values:
    """Values of O-DICE, whose residual is the advantage::

        r_f = r + γ·(1 − terminated)·V̄(s') − V(s),      r_b = r + γ·(1 − terminated)·V(s') − V̄(s)
        g   = ∇ mean (1 − λ)·V(s) + g_f + (g_b without its part along g_f)
        g_f = ∇ mean λ·f*(r_f),      g_b = ∇ mean λ·η·f*(r_b)

    Args:
        value: ensemble of state values, such as `rlx.policies.ensemble(rlx.policies.critic(), 2)`; V̄ is the smallest
            of the slowly moving copies.
        value_optimizer: transformation of the values' gradient.
        lambda_: λ, share of the residuals.
        eta: η, weight of the backward part; 0 is the semi-gradient.
        divergence: as in `rlx.regularizers.divergence.f_conjugate` (static).
        gradient: `"orthogonal"` as above; for comparison `"semi"`, without g_b, and `"true"`, that of f* of
            r + γ·(1 − terminated)·V(s') − V(s) through both values (static).
        discount: γ.
        tau: how far the target values move in an update.
        reward_scale: multiplies rewards.

    Raises:
        ValueError: an unknown `gradient`.

    References:
        Mao, Xu, Zhang, Zhan (2024). ODICE: Revealing the Mystery of Distribution Correction Estimation via
        Orthogonal-gradient Update. arXiv:2402.00348.
    """
    check_choice("gradient", gradient, ("orthogonal", "semi", "true"))

    def init(key: PRNGKeyArray, example: Transition) -> ActorCriticState:
        params = {"value": value.init(key, jax.tree.map(lambda x: x[0], example.observation))}
        return _values_state(params, {"value": value_optimizer}, targets=("value",))

    def update(state: ActorCriticState, batch: Transition, policy, key: PRNGKeyArray):
        reward, continued = reward_scale * batch.reward, discount * (1.0 - batch.terminated)
        target_value, target_next_value = (
            jnp.min(value.apply(state.target_params["value"], x), axis=0)
            for x in (batch.observation, batch.next_observation)
        )

        def parts(params: PyTree):
            now, following = (value.apply(params, x) for x in (batch.observation, batch.next_observation))
            if gradient == "true":
                # With V in place of both targets, the forward part is the whole loss.
                loss = dice_value(now - continued * following, now, now, now, reward, 0.0 * continued, **settings)
                return jnp.mean((1 - lambda_) * now), jnp.mean(loss.forward), jnp.zeros(())
            loss = dice_value(now, following, target_value, target_next_value, reward, continued, **settings)
            return tuple(jnp.mean(part) for part in loss)

        settings = dict(lambda_=lambda_, eta=eta, divergence=divergence)
        params = state.params["value"]
        losses, pullback = jax.vjp(parts, params)
        basis = jnp.eye(3, dtype=losses[0].dtype)
        linear, forward, backward = (pullback(tuple(row))[0] for row in basis)
        combined = orthogonalize(forward, backward) if gradient == "orthogonal" else forward
        total = jax.tree.map(jnp.add, linear, combined)
        updates, optimizer_state = value_optimizer.update(total, state.optimizer_state["value"], params)
        residual = reward + continued * target_next_value - value.apply(params, batch.observation)
        state = state._replace(
            params=state.params | {"value": optax.apply_updates(params, updates)},
            optimizer_state=state.optimizer_state | {"value": optimizer_state},
        )
        names = ("value_loss", "forward_loss", "backward_loss")
        return _move_targets(state, tau), residual, dict(zip(names, losses, strict=True))

    return Values(init, update)


def _values_state(params, optimizers, *, targets: tuple[str, ...]) -> ActorCriticState:
    return ActorCriticState(
        params=params,
        target_params={name: params[name] for name in targets},
        optimizer_state={name: optimizer.init(params[name]) for name, optimizer in optimizers.items()},
        auxiliary=None,
        step=jnp.zeros((), jnp.int32),
    )


def _move_targets(state: ActorCriticState, tau: Scalar) -> ActorCriticState:
    moving = {name: state.params[name] for name in state.target_params}
    return state._replace(target_params=polyak(moving, state.target_params, tau))
