"""Networks that value every action of a finite set at once, from vectors or from small images."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import gymnasium
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rlx.policies.networks import ACTIVATIONS, MLP, Network, from_flax


def q_network(
    action_space: gymnasium.spaces.Space,
    hidden_sizes: Sequence[int] = (256, 256),
    *,
    channels: Sequence[int] = (),
    pixel_scale: float = 1.0,
    dueling: bool = False,
    activation: str = "relu",
    layer_norm: bool = False,
    initialization: str = "lecun_uniform",
) -> Network:
    """Action values of all actions: `apply(params, observation) -> [*batch, action]`.

    A dueling network splits before its last hidden layer into a stream of the state's value and a stream of advantages,
    Q(s, a) = V(s) + A(s, a) − mean_b A(s, b).

    Args:
        action_space: a `Discrete` space that starts at zero.
        hidden_sizes: widths of the hidden layers.
        channels: 3x3 convolutions without padding before them, for images `[*batch, row, column, channel]`; none for
            vectors.
        pixel_scale: what images are multiplied by, such as 1/255 for bytes.
        dueling: two streams.
        activation: a key of `rlx.policies.ACTIVATIONS`.
        layer_norm: normalize over the features of a layer, or the channels of a pixel, before every activation.
        initialization: of the dense layers, as of `rlx.policies.MLP`; convolutions begin with He's normal weights.

    Raises:
        ValueError: another space; a dueling network without hidden layers.

    References:
        Wang, Schaul, Hessel, van Hasselt, Lanctot, de Freitas (2016). Dueling Network Architectures for Deep
        Reinforcement Learning. arXiv:1511.06581.
    """
    if not isinstance(action_space, gymnasium.spaces.Discrete) or action_space.start != 0:
        raise ValueError(f"action values need a Discrete action space with start=0, got {action_space}")
    if dueling and not hidden_sizes:
        raise ValueError("a dueling network needs a hidden layer for each of its streams, got hidden_sizes=()")
    return from_flax(
        _QNetwork(
            num_actions=int(action_space.n),
            hidden_sizes=tuple(hidden_sizes),
            channels=tuple(channels),
            pixel_scale=pixel_scale,
            dueling=dueling,
            activation=activation,
            layer_norm=layer_norm,
            initialization=initialization,
        )
    )


class _QNetwork(nn.Module):
    num_actions: int
    hidden_sizes: tuple[int, ...]
    channels: tuple[int, ...]
    pixel_scale: float
    dueling: bool
    activation: str
    layer_norm: bool
    initialization: str

    @nn.compact
    def __call__(self, x: Array) -> Float[Array, "*batch action"]:
        if self.channels:
            x = self._convolved(x)
        layers = dict(activation=self.activation, layer_norm=self.layer_norm, initialization=self.initialization)
        if not self.dueling:
            return MLP(self.hidden_sizes, self.num_actions, **layers)(x)
        *shared, own = self.hidden_sizes
        x = MLP(shared, **layers)(x)
        value = MLP((own,), 1, **layers)(x)
        advantage = MLP((own,), self.num_actions, **layers)(x)
        return value + advantage - jnp.mean(advantage, axis=-1, keepdims=True)

    def _convolved(self, image: Array) -> Array:
        x = jnp.asarray(image, jnp.float32) * self.pixel_scale
        for channels in self.channels:
            # XLA's own convolution takes five times as long for the gradient on a CPU, alone and under `vmap`.
            how = _convolution_as_product if jax.default_backend() == "cpu" else None
            start = nn.initializers.he_normal()
            x = nn.Conv(channels, (3, 3), padding="VALID", kernel_init=start, conv_general_dilated=how)(x)
            x = nn.LayerNorm()(x) if self.layer_norm else x
            x = ACTIVATIONS[self.activation](x)
        return x.reshape(*x.shape[:-3], -1)


def _convolution_as_product(
    image: Float[Array, "*batch row column channel"],
    kernel: Float[Array, "height width channel feature"],
    *unused: object,
    **unused_options: object,
) -> Float[Array, "*batch valid_row valid_column feature"]:
    """A convolution without padding or strides: one matrix product of all patches with the kernel."""
    height, width, channels, features = kernel.shape
    rows, columns = image.shape[-3] - height + 1, image.shape[-2] - width + 1
    patches = [image[..., i : i + rows, j : j + columns, :] for i in range(height) for j in range(width)]
    return jnp.concatenate(patches, axis=-1) @ kernel.reshape(height * width * channels, features)
