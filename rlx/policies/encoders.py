"""Critics that see an observation through features of it, which other models can share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rlx.policies.networks import MLP, Network, ensemble, join


class EncodedCritic(NamedTuple):
    """An ensemble of action values Q_i(φ_i(s), a), every member with an encoder of its own.

    Attributes:
        critic: the ensemble, as `rlx.policies.action_critic` makes them.
        encode: `(params of the critic, observation) -> φ_i(s) [ensemble, *batch, feature]`.
        feature_size: dimensions of φ.
        num: members.
    """

    critic: Network
    encode: Callable[[PyTree, Array], Array]
    feature_size: int
    num: int


def encoded_critic(
    encoder_sizes: Sequence[int] = (256,),
    hidden_sizes: Sequence[int] = (256, 256),
    *,
    feature_size: int = 50,
    num: int = 2,
    **options,
) -> EncodedCritic:
    """Action values of linear features of an observation and the action.

    Args:
        encoder_sizes: widths of the hidden layers of φ.
        hidden_sizes: widths of the hidden layers of Q.
        feature_size: dimensions of φ.
        num: members of the ensemble.
        **options: those of `rlx.policies.MLP` for Q; activation is relu and initialization uniform, unless given, and
            in φ.
    """
    usual = {"activation": "relu", "initialization": "uniform"}
    encoder, head = MLP(encoder_sizes, feature_size, **usual), MLP(hidden_sizes, 1, **usual | options)

    def init(key: PRNGKeyArray, observation: Array, action: Array) -> PyTree:
        encoder_key, head_key = jax.random.split(key)
        feature = jnp.zeros((*observation.shape[:-1], feature_size), observation.dtype)
        return {
            "encoder": encoder.init(encoder_key, observation),
            "head": head.init(head_key, join(feature, action)),
        }

    def apply(
        params: PyTree, observation: Float[Array, "... observation"], action: Float[Array, "... action"]
    ) -> Float[Array, "..."]:
        # Many actions of one state need its features once.
        feature = encoder.apply(params["encoder"], observation)
        return head.apply(params["head"], join(feature, action))[..., 0]

    def encode(params: PyTree, observation: Float[Array, "*batch observation"]) -> Float[Array, "ensemble *batch _"]:
        return jax.vmap(lambda member: encoder.apply(member, observation))(params["encoder"])

    return EncodedCritic(ensemble(Network(init, apply), num), encode, feature_size, num)
