"""Networks as plain ``init``/``apply`` functions, and policies and critics made of them.

The builders use flax modules; a network of any other library fits by giving the same two functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import gymnasium
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rlx.policies import distributions
from rlx.policies.distributions import ActionDistribution
from rlx.policies.initializers import orthogonal

ACTIVATIONS = {
    "tanh": nn.tanh,
    "relu": nn.relu,
    "elu": nn.elu,
    "gelu": nn.gelu,
    "silu": nn.silu,
}


class Network(NamedTuple):
    """A function with parameters: ``init(key, observation) -> params``, ``apply(params, observation)``.

    What ``apply`` returns says what the network is: an ``ActionDistribution`` for a policy, values ``[*batch]``
    for a critic, features ``[*batch, features]`` for a torso.
    """

    init: Callable[[PRNGKeyArray, Array], PyTree]
    apply: Callable[[PyTree, Array], PyTree]


class MLP(nn.Module):
    """Multi-layer perceptron with orthogonal initialization.

    Attributes:
      hidden_sizes: widths of the hidden layers.
      output_size: width of the linear output layer; None ends with the last hidden activation (a torso).
      activation: a key of ``ACTIVATIONS``.
      output_scale: gain of the output layer's initialization.
      layer_norm: normalize before every activation.
    """

    hidden_sizes: Sequence[int]
    output_size: int | None = None
    activation: str = "tanh"
    output_scale: float = 1.0
    layer_norm: bool = False

    @nn.compact
    def __call__(self, x):
        for size in self.hidden_sizes:
            x = nn.Dense(size, kernel_init=orthogonal(np.sqrt(2)))(x)
            if self.layer_norm:
                x = nn.LayerNorm()(x)
            x = ACTIVATIONS[self.activation](x)
        if self.output_size is not None:
            x = nn.Dense(self.output_size, kernel_init=orthogonal(self.output_scale))(x)
        return x


def from_flax(module: nn.Module) -> Network:
    """A flax module as a ``Network``."""
    return Network(module.init, module.apply)


def torso(hidden_sizes: Sequence[int] = (256, 256), **options) -> Network:
    """A shared torso: an MLP that ends with its last hidden activation (options: those of ``MLP``)."""
    return from_flax(MLP(hidden_sizes, **options))


def critic(hidden_sizes: Sequence[int] = (256, 256), **options) -> Network:
    """A state-value network: ``apply(params, observation) -> [*batch]`` (options: those of ``MLP``)."""
    module = MLP(hidden_sizes, 1, **options)
    return Network(module.init, lambda params, observation: module.apply(params, observation)[..., 0])


class _GaussianHead(nn.Module):
    mlp: MLP
    action_size: int
    state_dependent_std: bool
    initial_std: float
    min_std: float

    @nn.compact
    def __call__(self, x):
        output = self.mlp(x)
        if self.state_dependent_std:
            mean, raw_std = jnp.split(output, 2, axis=-1)
            # softplus(raw + shift) starts at initial_std where the head starts at zero.
            shift = np.log(np.expm1(self.initial_std - self.min_std))
            return mean, nn.softplus(raw_std + shift) + self.min_std
        initial_log_std = nn.initializers.constant(np.log(self.initial_std))
        log_std = self.param("log_std", initial_log_std, (self.action_size,))
        return output, jnp.maximum(jnp.exp(log_std), self.min_std)


def gaussian_policy(
    action_space: gymnasium.spaces.Space,
    hidden_sizes: Sequence[int] = (256, 256),
    *,
    squash: str = "clip",
    state_dependent_std: bool = False,
    initial_std: float = 1.0,
    min_std: float = 1e-3,
    **options,
) -> Network:
    """Diagonal Gaussian policy: ``apply(params, observation) -> ActionDistribution``.

    Args:
      action_space: a bounded ``Box`` (unbounded only with ``squash="identity"``).
      hidden_sizes: widths of the hidden layers.
      squash: ``"clip"`` sends clipped samples to the environment and keeps the Gaussian density (the usual PPO);
        ``"tanh"`` squashes, with the exact change of density; ``"identity"`` leaves actions alone.
      state_dependent_std: the scale is an output of the network (softplus) rather than one parameter per action.
      initial_std: scale at initialization, in units of the raw action.
      min_std: lower bound of the scale.
      **options: those of ``MLP`` (``activation``, ``layer_norm``).

    Raises:
      ValueError: the space is not a ``Box``, or is unbounded where bounds are needed.
    """
    size = _box_size(action_space, needs_bounds=squash != "identity")
    outputs = 2 * size if state_dependent_std else size
    mlp = MLP(hidden_sizes, outputs, output_scale=0.01, **options)
    module = _GaussianHead(mlp, size, state_dependent_std, initial_std, min_std)

    def apply(params: PyTree, observation: Float[Array, "*batch observation"]) -> ActionDistribution:
        mean, std = module.apply(params, observation)
        return distributions.gaussian(mean, std, action_space.low, action_space.high, squash=squash)

    return Network(module.init, apply)


def beta_policy(action_space: gymnasium.spaces.Space, hidden_sizes: Sequence[int] = (256, 256), **options) -> Network:
    """Beta policy on a bounded ``Box``; both concentrations are ``1 + softplus(head)``, hence unimodal.

    References:
      Chou, Maturana, Scherer (2017). Improving Stochastic Policy Gradients in Continuous Control with Deep
      Reinforcement Learning using the Beta Distribution. ICML.
    """
    size = _box_size(action_space, needs_bounds=True)
    module = MLP(hidden_sizes, 2 * size, output_scale=0.01, **options)

    def apply(params: PyTree, observation: Float[Array, "*batch observation"]) -> ActionDistribution:
        concentration1, concentration0 = jnp.split(1 + nn.softplus(module.apply(params, observation)), 2, -1)
        return distributions.beta(concentration1, concentration0, action_space.low, action_space.high)

    return Network(module.init, apply)


def categorical_policy(
    action_space: gymnasium.spaces.Space, hidden_sizes: Sequence[int] = (256, 256), **options
) -> Network:
    """Softmax policy over a ``Discrete`` space that starts at zero."""
    if not isinstance(action_space, gymnasium.spaces.Discrete) or action_space.start != 0:
        raise ValueError(f"action_space must be Discrete with start=0, got {action_space}")
    module = MLP(hidden_sizes, int(action_space.n), output_scale=0.01, **options)
    return Network(
        module.init, lambda params, observation: distributions.categorical(module.apply(params, observation))
    )


def policy(
    action_space: gymnasium.spaces.Space,
    hidden_sizes: Sequence[int] = (256, 256),
    *,
    kind: str = "auto",
    **options,
) -> Network:
    """The policy of a named kind for an action space.

    ``kind``: ``"gaussian"`` (clipped, free scale), ``"gaussian_state"`` (clipped, state-dependent scale), ``"tanh"``
    (tanh-squashed, state-dependent scale), ``"beta"``, ``"categorical"``, or ``"auto"``: categorical for a
    ``Discrete`` space, gaussian for a ``Box``.

    Raises:
      ValueError: unknown kind, or one that does not fit the space.
    """
    if kind == "auto":
        kind = "categorical" if isinstance(action_space, gymnasium.spaces.Discrete) else "gaussian"
    builders = {
        "gaussian": gaussian_policy,
        "gaussian_state": lambda *a, **k: gaussian_policy(*a, state_dependent_std=True, **k),
        "tanh": lambda *a, **k: gaussian_policy(*a, squash="tanh", state_dependent_std=True, **k),
        "beta": beta_policy,
        "categorical": categorical_policy,
    }
    if kind not in builders:
        raise ValueError(f"kind must be one of auto, {', '.join(builders)}; got {kind!r}")
    return builders[kind](action_space, hidden_sizes, **options)


def _box_size(action_space: gymnasium.spaces.Space, *, needs_bounds: bool) -> int:
    if not isinstance(action_space, gymnasium.spaces.Box) or len(action_space.shape) != 1:
        raise ValueError(f"action_space must be a Box with one axis, got {action_space}")
    if needs_bounds and not action_space.is_bounded():
        raise ValueError(f"action_space must be bounded, got {action_space}: use squash='identity'")
    return action_space.shape[0]
