"""O-DICE: cloning by the residual of a dual value, which is trained by an orthogonal gradient.

References:
    Mao, Xu, Zhang, Zhan (2024). ODICE: Revealing the Mystery of Distribution Correction Estimation via
    Orthogonal-gradient Update. arXiv:2402.00348.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PRNGKeyArray, PyTree

from rlx.algorithms import weighted_cloning
from rlx.algorithms.actor_critic import ActorCriticState, initial_state, move_targets
from rlx.algorithms.learner import Learner, Transition
from rlx.losses.value import dice_value
from rlx.policies import Network
from rlx.transforms import orthogonalize
from rlx.types import Scalar, check_choice
from rlx.weighting import advantage_weight


def learner(
    policy: Network,
    value: Network,
    policy_optimizer: optax.GradientTransformation,
    value_optimizer: optax.GradientTransformation,
    *,
    divergence: str = "pearson",
    max_weight: Scalar = 100.0,
    weight: weighted_cloning.Weight | None = None,
    penalty: weighted_cloning.PolicyPenalty | None = None,
    **settings,
) -> Learner:
    """O-DICE: the residual A of `dice_values` is the weight, rectified (Pearson), or exp(A − 1) (reverse KL).

    Args:
        policy: network that gives an `ActionDistribution`.
        value: ensemble of state values.
        policy_optimizer: transformation of the policy's gradient.
        value_optimizer: transformation of the values' gradient.
        divergence: `"pearson"` or `"reverse_kl"` (static).
        max_weight: largest weight.
        weight: from the advantage to the weight of each sample, in place of the divergence's.
        penalty: added to the policy's loss `[sample]`, as in `rlx.algorithms.weighted_cloning.learner`.
        **settings: those of `dice_values`.

    Raises:
        ValueError: an unknown `divergence`.
    """
    check_choice("divergence", divergence, ("pearson", "reverse_kl"))
    if weight is None and divergence == "pearson":
        weight = partial(advantage_weight, kind="relu", max_weight=max_weight)
    elif weight is None:
        weight = lambda residual: advantage_weight(residual - 1, beta=1.0, max_weight=max_weight)
    return weighted_cloning.learner(
        policy,
        policy_optimizer,
        values=dice_values(value, value_optimizer, divergence=divergence, **settings),
        weight=weight,
        penalty=penalty,
    )


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
) -> weighted_cloning.Values:
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
    """
    check_choice("gradient", gradient, ("orthogonal", "semi", "true"))

    def init(key: PRNGKeyArray, example: Transition) -> ActorCriticState:
        params = {"value": value.init(key, jax.tree.map(lambda x: x[0], example.observation))}
        return initial_state(params, {"value": value_optimizer}, targets=("value",))

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
        return move_targets(state, tau), residual, dict(zip(names, losses, strict=True))

    return weighted_cloning.Values(init, update)
