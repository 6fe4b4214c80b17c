"""Weighted behavior cloning: the policy imitates the data's actions, and values say how much each of them.

BC, AWAC, IQL and O-DICE are settings of it: they differ in the values and in what weight comes from them.

References:
    Peng, Kumar, Zhang, Levine (2019). Advantage-Weighted Regression. arXiv:1910.00177.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree

from rlx.algorithms.actor_critic import ActorCriticState, descend
from rlx.algorithms.learner import Learner, Transition
from rlx.losses.imitation import behavior_cloning
from rlx.policies import ActionDistribution, Network
from rlx.regularizers.behavior import action_distance

# How near to a bound an action is taken to be when it is squashed back: there its density would be infinite.
_MARGIN = 1e-5


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


Weight = Callable[[Array], Array]
"""The weight slot: from the advantage of the data's actions to how much each is imitated."""

PolicyPenalty = Callable[[Transition, Any], Array]
"""The penalty slot: from the batch and what the policy gives for it, what is added to its loss `[sample]`."""


def learner(
    policy: Network,
    optimizer: optax.GradientTransformation,
    *,
    values: Values | None = None,
    weight: Weight | None = None,
    penalty: PolicyPenalty | None = None,
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
        values: what is learned beside it, such as `rlx.algorithms.iql.expectile_values`,
            `rlx.algorithms.awac.policy_values` or `rlx.algorithms.odice.dice_values`.
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

    def log_prob(state: ActorCriticState, observation: PyTree, action: Array) -> Array:
        return action_log_prob(policy.apply(state.params["actor"], observation), action)

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

    return Learner(init=init, act=act, mode=mode, update=update, log_prob=log_prob)


def cloning_loss(output: Any, action: Array, *, weight: Array | None = None, reduce: str = "mean") -> Array:
    """How far what a policy gives is from the data's action: −w·log π(a|s), or w·mean_d (π(s) − a)².

    Args:
        output: an `ActionDistribution` or an action; carries the gradient.
        action: a, a constant.
        weight: w, a constant; None for 1.
        reduce: `"mean"` or `"sum"` over the dimensions of an action, where it is not a distribution (static).
    """
    if isinstance(output, ActionDistribution):
        return behavior_cloning(action_log_prob(output, action), weight=weight)
    return action_distance(output, action, weight=weight, reduce=reduce)


def action_log_prob(output: Any, action: Array) -> Array:
    """Log-density of an action, as the environment receives it, under what a policy gives.

    Raises:
        ValueError: the policy gives an action, which has no density.
    """
    if not isinstance(output, ActionDistribution):
        raise ValueError("a deterministic policy gives its actions no density")
    return output.log_prob(raw_action(output, action))


def raw_action(distribution: ActionDistribution, action: Array) -> Array:
    """The raw action that the distribution's squashing takes to an action, kept off the bounds, where there is none."""
    if distribution.kind in ("identity", "clip"):
        return action
    unit = jnp.clip((action - distribution.low) / (distribution.high - distribution.low), _MARGIN, 1 - _MARGIN)
    return jnp.arctanh(2 * unit - 1) if distribution.kind == "tanh" else unit


def _mode(output: Any) -> Array:
    return output.action(output.mode()) if isinstance(output, ActionDistribution) else output
