"""A2PR: TD3 that stays near the better of the data's action and one that a model of good actions generates.

References:
    Liu, Li, Wei, Sun, Wang, Wang (2024). Adaptive Advantage-Guided Policy Regularization for Offline Reinforcement
    Learning. arXiv:2405.19909.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rlx.algorithms import td3, td3_bc
from rlx.algorithms.actor_critic import Auxiliary, GradientStep, Slots, descend
from rlx.algorithms.learner import Learner, Transition
from rlx.losses.generative import conditional_vae
from rlx.losses.value import ensemble_target, squared_td
from rlx.policies import ActionAutoencoder, Network
from rlx.regularizers.behavior import advantage_guided
from rlx.types import Scalar


class A2PRModels(NamedTuple):
    """What A2PR trains beside actor and critics: parameters and optimizer states of `value` and `autoencoder`."""

    params: dict[str, PyTree]
    optimizer_state: dict[str, PyTree]


def learner(
    actor: Network,
    critic: Network,
    value: Network,
    autoencoder: ActionAutoencoder,
    actor_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    value_optimizer: optax.GradientTransformation,
    autoencoder_optimizer: optax.GradientTransformation,
    *,
    alpha: Scalar = 2.5,
    mask_scale: Scalar = 0.5,
    vae_weight: Scalar = 1.0,
    kl_weight: Scalar = 0.5,
    stop_target: bool = False,
    discount: Scalar = 0.99,
    reward_scale: Scalar = 1.0,
    added: Sequence[Slots] = (),
    **settings,
) -> Learner:
    """A2PR: TD3 with a penalty towards the data's action or a generated one, whichever the critic values more.

    After each step of the critics, with y their target, y' the same from the critics after their step, and V the value
    before its own step::

        L_V   = mean (V(s) − min(y, y'))²
        L_VAE = mean w·mean_d (â − a)² + kl_weight·KL,    w = vae_weight·1[Q_1(s, a) > V(s)]
        L_π   = mean −λ·Q_1(s, π(s)) + m·mean_d (π(s) − t)²,    λ = α / mean |Q_1(s, π(s))|

    where the candidate c is a reconstruction of (s, π(s)), t = c where Q_1(s, c) ≥ Q_1(s, a) and a elsewhere, and
    m = mask_scale·1[Q_1(s, c) ≥ V(s) or Q_1(s, a) > V(s)].

    Args:
        actor: deterministic policy.
        critic: ensemble of action values.
        value: state value.
        autoencoder: model of the data's actions, such as `rlx.policies.action_autoencoder`.
        actor_optimizer: transformation of the actor's gradient.
        critic_optimizer: transformation of the critics' gradient.
        value_optimizer: transformation of the value's gradient.
        autoencoder_optimizer: transformation of the autoencoder's gradient.
        alpha: α, how much the value of the policy's action counts.
        mask_scale: weight of the penalty where an action is better than the state.
        vae_weight: weight of the reconstruction of good actions.
        kl_weight: weight of the divergence of the codes from N(0, 1).
        stop_target: hold the candidate constant; else the policy's gradient passes through the encoder, as in the
            official code (static).
        discount: γ.
        reward_scale: multiplies rewards.
        added: slots of further methods.
        **settings: the others of `rlx.algorithms.td3.learner`.
    """
    optimizers = {"value": value_optimizer, "autoencoder": autoencoder_optimizer}

    def init(key: PRNGKeyArray, example: Transition) -> A2PRModels:
        value_key, autoencoder_key = jax.random.split(key)
        observation, action = jax.tree.map(lambda x: x[0], (example.observation, example.action))
        params = {
            "value": value.init(value_key, observation),
            "autoencoder": autoencoder.init(autoencoder_key, observation, action),
        }
        return A2PRModels(params, {name: optimizer.init(params[name]) for name, optimizer in optimizers.items()})

    def update(models: A2PRModels, step: GradientStep):
        batch, q = step.batch, partial(critic.apply, step.state.params["critic"])
        value_now = value.apply(models.params["value"], batch.observation)
        renewed = ensemble_target(
            reward_scale * batch.reward,
            discount * (1.0 - batch.terminated),
            q(batch.next_observation, step.next_action),
        )
        target = jnp.minimum(step.target, renewed)

        def value_objective(params: PyTree):
            loss = jnp.mean(squared_td(value.apply(params, batch.observation), target))
            return loss, {"value_loss": loss}

        is_good = q(batch.observation, batch.action)[0] > value_now

        def autoencoder_objective(params: PyTree):
            reconstruction, mean, log_std = autoencoder.reconstruct(params, step.key, batch.observation, batch.action)
            weight = vae_weight * is_good.astype(mean.dtype)
            loss = conditional_vae(reconstruction, batch.action, mean, log_std, weight=weight, kl_weight=kl_weight)
            return jnp.mean(loss), {"vae_loss": jnp.mean(loss), "good_fraction": jnp.mean(is_good)}

        params, optimizer_state, metrics = {}, {}, {}
        for name, objective in (("value", value_objective), ("autoencoder", autoencoder_objective)):
            params[name], optimizer_state[name], measures = descend(
                optimizers[name], objective, models.params[name], models.optimizer_state[name]
            )
            metrics |= measures
        return A2PRModels(params, optimizer_state), value_now, metrics

    def guided(step: GradientStep) -> Float[Array, " sample"]:
        observation, params = step.batch.observation, step.state.auxiliary.params["autoencoder"]
        q = partial(critic.apply, step.state.params["critic"])
        candidate, _, _ = autoencoder.reconstruct(params, step.key, observation, step.action)
        candidate = jax.lax.stop_gradient(candidate) if stop_target else candidate
        return advantage_guided(
            step.action,
            step.batch.action,
            candidate,
            q(observation, step.batch.action)[0],
            q(observation, candidate)[0],
            step.notes,
            scale=mask_scale,
        )

    own = Slots(actor_loss=td3_bc.scaled_value(critic, alpha), actor_penalty=guided, auxiliary=Auxiliary(init, update))
    return td3.learner(
        actor,
        critic,
        actor_optimizer,
        critic_optimizer,
        discount=discount,
        reward_scale=reward_scale,
        added=(own, *added),
        **settings,
    )
