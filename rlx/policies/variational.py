"""Conditional variational autoencoders of actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rlx.policies.networks import MLP, box_size, middle_and_half


class ActionAutoencoder(NamedTuple):
    """A generative model of the actions taken at a state.

    Attributes:
        init: `(key, observation, action) -> params`.
        encode: `(params, observation, action) -> (mean, log_std)` of the latent code `[*batch, latent]`.
        decode: `(params, observation, code) -> action` within the bounds.
    """

    init: Callable[..., PyTree]
    encode: Callable[..., tuple[Array, Array]]
    decode: Callable[..., Array]

    def reconstruct(
        self, params: PyTree, key: PRNGKeyArray, observation: Array, action: Array
    ) -> tuple[Array, Array, Array]:
        """An action drawn from the code of an action, and the code's mean and log_std; reparameterized."""
        mean, log_std = self.encode(params, observation, action)
        code = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape, mean.dtype)
        return self.decode(params, observation, code), mean, log_std


def action_autoencoder(
    action_space: gymnasium.spaces.Space,
    hidden_sizes: Sequence[int] = (750, 750),
    *,
    latent_size: int | None = None,
    log_std_bounds: tuple[float, float] = (-4.0, 15.0),
    **options,
) -> ActionAutoencoder:
    """A conditional variational autoencoder whose encoder sees (s, a) and whose decoder sees (s, z).

    Args:
        action_space: a bounded `Box` with one axis.
        hidden_sizes: widths of the hidden layers of encoder and decoder.
        latent_size: dimensions of the code; None for twice those of the action.
        log_std_bounds: what log_std is clipped to.
        **options: those of `rlx.policies.MLP`; here activation is relu and initialization uniform, unless given.

    Raises:
        ValueError: the space is not a bounded `Box` with one axis.

    References:
        Fujimoto, Meger, Precup (2019). Off-Policy Deep Reinforcement Learning without Exploration. arXiv:1812.02900.
    """
    size = box_size(action_space)
    latent = 2 * size if latent_size is None else latent_size
    options = {"activation": "relu", "initialization": "uniform"} | options
    encoder, decoder = MLP(hidden_sizes, 2 * latent, **options), MLP(hidden_sizes, size, **options)
    middle, half = middle_and_half(action_space)

    def init(key: PRNGKeyArray, observation: Array, action: Array) -> PyTree:
        encoder_key, decoder_key = jax.random.split(key)
        code = jnp.zeros((*observation.shape[:-1], latent), observation.dtype)
        return {
            "encoder": encoder.init(encoder_key, jnp.concatenate([observation, action], -1)),
            "decoder": decoder.init(decoder_key, jnp.concatenate([observation, code], -1)),
        }

    def encode(
        params: PyTree, observation: Float[Array, "*batch observation"], action: Float[Array, "*batch action"]
    ) -> tuple[Array, Array]:
        output = encoder.apply(params["encoder"], jnp.concatenate([observation, action], -1))
        mean, log_std = jnp.split(output, 2, -1)
        return mean, jnp.clip(log_std, *log_std_bounds)

    def decode(
        params: PyTree, observation: Float[Array, "*batch observation"], code: Float[Array, "*batch latent"]
    ) -> Array:
        return middle + half * jnp.tanh(decoder.apply(params["decoder"], jnp.concatenate([observation, code], -1)))

    return ActionAutoencoder(init, encode, decode)
