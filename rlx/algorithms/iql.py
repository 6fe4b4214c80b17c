"""IQL, implicit Q-learning: values that never ask for an action that the data do not hold.

References:
    Kostrikov, Nair, Levine (2021). Offline Reinforcement Learning with Implicit Q-Learning. arXiv:2110.06169.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PRNGKeyArray, PyTree

from rlx.algorithms import weighted_cloning
from rlx.algorithms.actor_critic import ActorCriticState, improve, initial_state, move_targets
from rlx.algorithms.learner import Learner, Transition
from rlx.losses import value as value_losses
from rlx.losses.value import ensemble_target, squared_td
from rlx.policies import Network
from rlx.types import Scalar
from rlx.weighting import advantage_weight


def learner(
    policy: Network,
    value: Network,
    critic: Network,
    policy_optimizer: optax.GradientTransformation,
    value_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    *,
    beta: Scalar = 3.0,
    max_weight: Scalar = 100.0,
    weight: weighted_cloning.Weight | None = None,
    penalty: weighted_cloning.PolicyPenalty | None = None,
    **settings,
) -> Learner:
    """IQL: cloning by the advantage over an expectile of the data's values, exponentially.

    L_π = mean −w·log π(a|s) with w = min(exp(β·A), max_weight) and A of `expectile_values`. A deterministic policy
    minimizes mean w·Σ_d (π(s) − a)².

    Args:
        policy: network that gives an `ActionDistribution`, or an action.
        value: state value.
        critic: ensemble of action values.
        policy_optimizer: transformation of the policy's gradient.
        value_optimizer: transformation of the value's gradient.
        critic_optimizer: transformation of the critics' gradient.
        beta: β in the weight exp(β·A).
        max_weight: largest weight.
        weight: from the advantage to the weight of each sample, in place of the one above.
        penalty: added to the policy's loss `[sample]`, as in `rlx.algorithms.weighted_cloning.learner`.
        **settings: those of `expectile_values`.
    """
    if weight is None:
        weight = partial(advantage_weight, beta=beta, max_weight=max_weight)
    return weighted_cloning.learner(
        policy,
        policy_optimizer,
        values=expectile_values(value, critic, value_optimizer, critic_optimizer, **settings),
        weight=weight,
        penalty=penalty,
        reduce="sum",
    )


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
) -> weighted_cloning.Values:
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
    """

    def init(key: PRNGKeyArray, example: Transition) -> ActorCriticState:
        value_key, critic_key = jax.random.split(key)
        observation, action = jax.tree.map(lambda x: x[0], (example.observation, example.action))
        params = {"value": value.init(value_key, observation), "critic": critic.init(critic_key, observation, action)}
        return initial_state(params, {"value": value_optimizer, "critic": critic_optimizer}, targets=("critic",))

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
        return move_targets(state, tau), advantage, value_metrics | critic_metrics

    return weighted_cloning.Values(init, update)
