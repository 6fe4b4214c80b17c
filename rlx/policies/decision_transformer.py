"""A policy that reads the latest steps and the return that is still wanted: a causal transformer over both.

References:
    Chen, Lu, Rajeswaran, Lee, Grover, Laskin, Abbeel, Srinivas, Mordatch (2021). Decision Transformer: Reinforcement
    Learning via Sequence Modeling. arXiv:2106.01345.
"""

from __future__ import annotations

import flax.linen as nn
import gymnasium
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from rlx.policies.networks import Network, box_size, middle_and_half

_NORMAL = nn.initializers.normal(0.02)
# PyTorch draws query, key and value as one matrix [3·size, size], by Glorot's rule.
_GLOROT = nn.initializers.variance_scaling(0.5, "fan_avg", "uniform")


class _Block(nn.Module):
    """Attention and a perceptron, each on what is normalized before and added after."""

    num_heads: int
    attention_dropout: float
    residual_dropout: float

    @nn.compact
    def __call__(self, x, mask, deterministic):
        size = x.shape[-1]
        dropout = nn.Dropout(self.residual_dropout, deterministic=deterministic)
        attended = nn.MultiHeadDotProductAttention(
            self.num_heads,
            dropout_rate=self.attention_dropout,
            broadcast_dropout=False,
            deterministic=deterministic,
            kernel_init=_GLOROT,
            out_kernel_init=_NORMAL,
        )(_normalized(x), mask=mask)
        x = x + dropout(attended)
        hidden = nn.gelu(_dense(4 * size)(_normalized(x)), approximate=False)
        return x + dropout(_dense(size)(hidden))


class DecisionTransformer(nn.Module):
    """Actions before squashing, from tokens (R̂_t, s_t, a_t) of each step; read at the s_t.

    Attributes:
        action_size: dimensions of an action.
        num_timesteps: steps of an episode that have an embedding of their own; later ones share the last.
        embedding_size: width of a token.
        num_layers: blocks.
        num_heads: heads of each block's attention.
        attention_dropout: of the attention's weights.
        residual_dropout: of what a block adds.
        embedding_dropout: of the tokens.
    """

    action_size: int
    num_timesteps: int = 1000
    embedding_size: int = 128
    num_layers: int = 3
    num_heads: int = 1
    attention_dropout: float = 0.1
    residual_dropout: float = 0.1
    embedding_dropout: float = 0.1

    @nn.compact
    def __call__(self, observation, action, return_to_go, timestep, where, deterministic=True):
        size = self.embedding_size
        # What stands at padding may be anything, and 0 times infinity is no number.
        observation, action, return_to_go = (
            jnp.where(where[..., None], x, 0) for x in (observation, action, return_to_go[..., None])
        )
        time = nn.Embed(self.num_timesteps, size, embedding_init=_NORMAL)(jnp.clip(timestep, 0, self.num_timesteps - 1))
        tokens = jnp.stack([_dense(size)(x) + time for x in (return_to_go, observation, action)], axis=-2)
        *batch, steps, kinds, _ = tokens.shape
        x = _normalized(tokens.reshape(*batch, steps * kinds, size))
        x = nn.Dropout(self.embedding_dropout, deterministic=deterministic)(x)
        counts = jnp.repeat(where, kinds, axis=-1)
        mask = nn.combine_masks(nn.make_causal_mask(counts), counts[..., None, None, :])
        for _ in range(self.num_layers):
            x = _Block(self.num_heads, self.attention_dropout, self.residual_dropout)(x, mask, deterministic)
        states = _normalized(x)[..., 1::kinds, :]
        return _dense(self.action_size)(states)


def decision_transformer(action_space: gymnasium.spaces.Space, **options) -> Network:
    """A policy over the steps of a sequence: `apply` gives the action of each, within the bounds of a `Box`.

    `init(key, observation, action, return_to_go, timestep, where)` and `apply(params, <the same>, key=None)` take
    sequences::

        observation   s [*batch, time, observation]
        action        a [*batch, time, action]; that of a step reaches later steps only
        return_to_go  R̂ [*batch, time], the sum of rewards from the step on that is wanted, or that was had
        timestep      t [*batch, time], counted from the beginning of the episode
        where         [*batch, time], False at padding, before or behind the sequence

    A token is an embedding of one of R̂_t, s_t, a_t plus one of t, normalized. They pass in this order through blocks
    of causal attention that sees no padding; the action is a tanh of what comes out at s_t. Without a key there is no
    dropout.

    Args:
        action_space: a bounded `Box` with one axis.
        **options: those of `DecisionTransformer`.

    Raises:
        ValueError: the space is not a `Box` with one axis, or is unbounded; heads that do not divide the width.
    """
    module = DecisionTransformer(box_size(action_space), **options)
    if module.embedding_size % module.num_heads:
        raise ValueError(
            f"num_heads must divide embedding_size={module.embedding_size}, got num_heads={module.num_heads}"
        )
    middle, half = middle_and_half(action_space)

    def apply(
        params: PyTree,
        observation: Float[Array, "*batch time observation"],
        action: Float[Array, "*batch time action"],
        return_to_go: Float[Array, "*batch time"],
        timestep: Int[Array, "*batch time"],
        where: Bool[Array, "*batch time"],
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "*batch time action"]:
        inputs = observation, action, return_to_go, timestep, where
        if key is None:
            output = module.apply(params, *inputs)
        else:
            output = module.apply(params, *inputs, deterministic=False, rngs={"dropout": key})
        return middle + half * jnp.tanh(output)

    return Network(module.init, apply)


def _dense(size: int) -> nn.Dense:
    return nn.Dense(size, kernel_init=_NORMAL)


def _normalized(x: Array) -> Array:
    return nn.LayerNorm(epsilon=1e-5)(x)
