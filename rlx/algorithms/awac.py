"""AWAC: cloning by the policy's own advantage.

References:
    Nair, Gupta, Dalal, Levine (2020). AWAC: Accelerating Online Reinforcement Learning with Offline Datasets.
    arXiv:2006.09359.
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
from rlx.losses.value import ensemble_target, squared_td
from rlx.policies import Network
from rlx.types import Scalar
from rlx.weighting import advantage_weight


def learner(
    policy: Network,
    critic: Network,
    policy_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    *,
    temperature: Scalar = 1.0,
    max_weight: Scalar = 100.0,
    weight: weighted_cloning.Weight | None = None,
    penalty: weighted_cloning.PolicyPenalty | None = None,
    **settings,
) -> Learner:
    """AWAC: L_π = mean −w·log π(a|s) with w = min(exp(A / λ), max_weight) and A of `policy_values`.

    Args:
        policy: network that gives an `ActionDistribution`.
        critic: ensemble of action values.
        policy_optimizer: transformation of the policy's gradient.
        critic_optimizer: transformation of the critics' gradient.
        temperature: λ in the weight exp(A / λ).
        max_weight: largest weight.
        weight: from the advantage to the weight of each sample, in place of the one above.
        penalty: added to the policy's loss `[sample]`, as in `rlx.algorithms.weighted_cloning.learner`.
        **settings: those of `policy_values`.
    """
    if weight is None:
        weight = partial(advantage_weight, beta=1.0 / temperature, max_weight=max_weight)
    return weighted_cloning.learner(
        policy,
        policy_optimizer,
        values=policy_values(critic, critic_optimizer, **settings),
        weight=weight,
        penalty=penalty,
    )


def policy_values(
    critic: Network,
    critic_optimizer: optax.GradientTransformation,
    *,
    discount: Scalar = 0.99,
    tau: Scalar = 0.005,
    reward_scale: Scalar = 1.0,
) -> weighted_cloning.Values:
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
    """

    def init(key: PRNGKeyArray, example: Transition) -> ActorCriticState:
        observation, action = jax.tree.map(lambda x: x[0], (example.observation, example.action))
        params = {"critic": critic.init(key, observation, action)}
        return initial_state(params, {"critic": critic_optimizer}, targets=("critic",))

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
        return move_targets(state, tau), advantage, metrics

    return weighted_cloning.Values(init, update)
