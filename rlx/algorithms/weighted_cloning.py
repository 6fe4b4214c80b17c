"""Weighted behavior cloning: the policy imitates the data's actions, and values say how much each of them.

No action but the data's and the policy's own is ever valued for the policy, which makes these methods "in-sample".

References:
    Peng, Kumar, Zhang, Levine (2019). Advantage-Weighted Regression. arXiv:1910.00177.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree

from rlx.algorithms.actor_critic import ActorCriticState, descend
from rlx.algorithms.in_sample_values import Values, dice_values, expectile_values, policy_values
from rlx.algorithms.learner import Learner, Transition
from rlx.losses.imitation import behavior_cloning
from rlx.policies import ActionDistribution, Network
from rlx.regularizers.behavior import action_distance
from rlx.types import Scalar, check_choice
from rlx.weighting import advantage_weight

# How near to a bound an action is taken to be when it is squashed back: there its density would be infinite.
_MARGIN = 1e-5


Weight = Callable[[Array], Array]
"""The weight slot: from the advantage of the data's actions to how much each is imitated."""


def learner(
    policy: Network,
    optimizer: optax.GradientTransformation,
    *,
    values: Values | None = None,
    weight: Weight | None = None,
    penalty: Callable[[Transition, Any], Array] | None = None,
    reduce: str = "mean",
) -> Learner:
    """Weighted behavior cloning as a `Learner`.

    One update is a step of the values, then one of the policy::

        A    = what the values say of (s, a) before their step
        L_π  = mean −sg(weight(A))·log π(a|s) + penalty

    A deterministic policy has `action_distance` in place of −log π. Without values or weight it is behavior cloning.

    Args:
        policy: network that gives an `ActionDistribution`, or an action.
        optimizer: transformation of the policy's gradient.
        values: what is learned beside it: `expectile_values`, `policy_values` or `dice_values`.
        weight: from the advantage to the weight of each sample, such as `rlx.weighting.advantage_weight`.
        penalty: added to the policy's loss `[sample]`, from the batch and what `policy` gives for it.
        reduce: `"mean"` or `"sum"` over an action's dimensions in the distance of a deterministic policy (static).

    Returns:
        A `Learner` whose state is an `ActorCriticState`.

    Raises:
        ValueError: a weight without values that it could come from.
    """
    if weight is not None and values is None:
        raise ValueError("a weight needs values to come from")

    def init(key: PRNGKeyArray, example: Transition) -> ActorCriticState:
        policy_key, values_key = jax.random.split(key)
        one = jax.tree.map(lambda x: x[0], example.observation)
        params = {"actor": policy.init(policy_key, one)}
        output = policy.apply(params["actor"], example.observation)
        example = example._replace(action=_mode(output))
        if values is None:
            state = ActorCriticState({}, {}, {}, None, jnp.zeros((), jnp.int32))
        else:
            state = values.init(values_key, example)
        return state._replace(
            params=state.params | params,
            optimizer_state=state.optimizer_state | {"actor": optimizer.init(params["actor"])},
        )

    def act(state: ActorCriticState, observation: PyTree, key: PRNGKeyArray):
        output = policy.apply(state.params["actor"], observation)
        is_random = isinstance(output, ActionDistribution)
        return output.action(output.sample(key)) if is_random else output, {}

    def mode(state: ActorCriticState, observation: PyTree) -> Array:
        return _mode(policy.apply(state.params["actor"], observation))

    def update(state: ActorCriticState, batch: Transition, key: PRNGKeyArray):
        metrics, weights = {}, jnp.ones_like(batch.reward)
        if values is not None:
            state, advantage, metrics = values.update(state, batch, partial(policy.apply, state.params["actor"]), key)
            metrics["advantage"] = jnp.mean(advantage)
            if weight is not None:
                weights = weight(advantage)
            metrics["weight"] = jnp.mean(weights)

        def objective(params: PyTree):
            output = policy.apply(params, batch.observation)
            terms = {"actor_loss": jnp.mean(cloning_loss(output, batch.action, weight=weights, reduce=reduce))}
            if penalty is not None:
                terms["actor_penalty"] = jnp.mean(penalty(batch, output))
            return sum(terms.values()), terms

        params, optimizer_state, terms = descend(
            optimizer, objective, state.params["actor"], state.optimizer_state["actor"]
        )
        return state._replace(
            params=state.params | {"actor": params},
            optimizer_state=state.optimizer_state | {"actor": optimizer_state},
            step=state.step + 1,
        ), metrics | terms

    return Learner(init=init, act=act, mode=mode, update=update)


def cloning_loss(output: Any, action: Array, *, weight: Array | None = None, reduce: str = "mean") -> Array:
    """How far what a policy gives is from the data's action: −w·log π(a|s), or w·mean_d (π(s) − a)².

    Args:
        output: an `ActionDistribution` or an action; carries the gradient.
        action: a, a constant.
        weight: w, a constant; None for 1.
        reduce: `"mean"` or `"sum"` over the dimensions of an action, where it is not a distribution (static).
    """
    if isinstance(output, ActionDistribution):
        return behavior_cloning(output.log_prob(raw_action(output, action)), weight=weight)
    return action_distance(output, action, weight=weight, reduce=reduce)


def raw_action(distribution: ActionDistribution, action: Array) -> Array:
    """The raw action that the distribution's squashing takes to an action, kept off the bounds, where there is none."""
    if distribution.kind in ("identity", "clip"):
        return action
    unit = jnp.clip((action - distribution.low) / (distribution.high - distribution.low), _MARGIN, 1 - _MARGIN)
    return jnp.arctanh(2 * unit - 1) if distribution.kind == "tanh" else unit


def bc(policy: Network, optimizer: optax.GradientTransformation) -> Learner:
    """Behavior cloning: every action of the data counts alike."""
    return learner(policy, optimizer)


def awac(
    policy: Network,
    critic: Network,
    policy_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    *,
    temperature: Scalar = 1.0,
    max_weight: Scalar = 100.0,
    **settings,
) -> Learner:
    """AWAC: the policy's own advantage, exponentially.

    Args:
        policy: network that gives an `ActionDistribution`.
        critic: ensemble of action values.
        policy_optimizer: transformation of the policy's gradient.
        critic_optimizer: transformation of the critics' gradient.
        temperature: λ in the weight exp(A / λ).
        max_weight: largest weight.
        **settings: those of `policy_values`.
    """
    return learner(
        policy,
        policy_optimizer,
        values=policy_values(critic, critic_optimizer, **settings),
        weight=partial(advantage_weight, beta=1.0 / temperature, max_weight=max_weight),
    )


def iql(
    policy: Network,
    value: Network,
    critic: Network,
    policy_optimizer: optax.GradientTransformation,
    value_optimizer: optax.GradientTransformation,
    critic_optimizer: optax.GradientTransformation,
    *,
    beta: Scalar = 3.0,
    max_weight: Scalar = 100.0,
    **settings,
) -> Learner:
    """Implicit Q-learning: the advantage over an expectile of the data's values, exponentially.

    A deterministic policy minimizes mean w·Σ_d (π(s) − a)².

    Args:
        policy: network that gives an `ActionDistribution`, or an action.
        value: state value.
        critic: ensemble of action values.
        policy_optimizer: transformation of the policy's gradient.
        value_optimizer: transformation of the value's gradient.
        critic_optimizer: transformation of the critics' gradient.
        beta: β in the weight exp(β·A).
        max_weight: largest weight.
        **settings: those of `expectile_values`.
    """
    return learner(
        policy,
        policy_optimizer,
        values=expectile_values(value, critic, value_optimizer, critic_optimizer, **settings),
        weight=partial(advantage_weight, beta=beta, max_weight=max_weight),
        reduce="sum",
    )


def odice(
    policy: Network,
    value: Network,
    policy_optimizer: optax.GradientTransformation,
    value_optimizer: optax.GradientTransformation,
    *,
    divergence: str = "pearson",
    max_weight: Scalar = 100.0,
    **settings,
) -> Learner:
    """O-DICE: the residual of a dual value, rectified (Pearson) or exponentially (reverse KL).

    Args:
        policy: network that gives an `ActionDistribution`.
        value: ensemble of state values.
        policy_optimizer: transformation of the policy's gradient.
        value_optimizer: transformation of the values' gradient.
        divergence: `"pearson"` or `"reverse_kl"` (static).
        max_weight: largest weight.
        **settings: those of `dice_values`.

    Raises:
        ValueError: an unknown `divergence`.
    """
    check_choice("divergence", divergence, ("pearson", "reverse_kl"))
    if divergence == "pearson":
        weight = partial(advantage_weight, kind="relu", max_weight=max_weight)
    else:
        weight = lambda residual: advantage_weight(residual - 1, beta=1.0, max_weight=max_weight)
    return learner(
        policy,
        policy_optimizer,
        values=dice_values(value, value_optimizer, divergence=divergence, **settings),
        weight=weight,
    )


def _mode(output: Any) -> Array:
    return output.action(output.mode()) if isinstance(output, ActionDistribution) else output
