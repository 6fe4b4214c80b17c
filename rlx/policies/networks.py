"""Networks as plain `init`/`apply` functions, and policies and critics made of them.

The builders use flax modules; a network of any other library fits by giving the same two functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from rlx.policies import distributions
from rlx.policies.distributions import ActionDistribution
from rlx.policies.initializers import orthogonal
from rlx.types import check_choice

ACTIVATIONS = {
    "tanh": nn.tanh,
    "relu": nn.relu,
    "elu": nn.elu,
    "gelu": nn.gelu,
    "silu": nn.silu,
}


# What the codes of off-policy and offline methods have in common, their initialization being PyTorch's.
INITIALIZATIONS = ("orthogonal", "uniform", "lecun_uniform")
_OFF_POLICY = {"activation": "relu", "initialization": "uniform"}


class Network(NamedTuple):
    """A function with parameters: `init(key, observation) -> params`, `apply(params, observation)`.

    What `apply` returns says what the network is: an `ActionDistribution` for a policy, an action for a
    deterministic one, values `[*batch]` for a critic, features `[*batch, features]` for a torso. Critics of actions
    take the action as a further argument of both functions.
    """

    init: Callable[..., PyTree]
    apply: Callable[..., PyTree]


class MLP(nn.Module):
    """Multi-layer perceptron.

    Attributes:
        hidden_sizes: widths of the hidden layers.
        output_size: width of the linear output layer; None ends with the last hidden activation (a torso).
        activation: a key of `ACTIVATIONS`.
        output_scale: gain of the output layer's orthogonal initialization.
        layer_norm: normalize before every activation.
        normalize_after: normalize after every activation rather than before.
        initialization: `"orthogonal"` with biases of zero, `"uniform"`: kernels and biases within ±1/√inputs,
            as PyTorch has it, or `"lecun_uniform"`: kernels within ±√(3/inputs) and biases of zero, as Brax has it.
        hidden_bias: where the biases of hidden layers start instead.
        output_bound: draw kernel and bias of the output layer uniformly within ± this instead.
    """

    hidden_sizes: Sequence[int]
    output_size: int | None = None
    activation: str = "tanh"
    output_scale: float = 1.0
    layer_norm: bool = False
    normalize_after: bool = False
    initialization: str = "orthogonal"
    hidden_bias: float | None = None
    output_bound: float | None = None

    @nn.compact
    def __call__(self, x):
        check_choice("initialization", self.initialization, INITIALIZATIONS)
        for size in self.hidden_sizes:
            x = self._dense(size, x.shape[-1], np.sqrt(2), bias=self.hidden_bias)(x)
            if self.layer_norm and not self.normalize_after:
                x = nn.LayerNorm()(x)
            x = ACTIVATIONS[self.activation](x)
            if self.layer_norm and self.normalize_after:
                x = nn.LayerNorm()(x)
        if self.output_size is not None:
            x = self._dense(self.output_size, x.shape[-1], self.output_scale, bound=self.output_bound)(x)
        return x

    def _dense(self, size, inputs, gain, *, bias=None, bound=None):
        if bound is not None:
            kernel_init = bias_init = _uniform(bound)
        elif self.initialization == "uniform":
            kernel_init = bias_init = _uniform(1 / np.sqrt(inputs))
        elif self.initialization == "lecun_uniform":
            kernel_init, bias_init = nn.initializers.lecun_uniform(), nn.initializers.zeros
        else:
            kernel_init, bias_init = orthogonal(gain), nn.initializers.zeros
        if bias is not None:
            bias_init = nn.initializers.constant(bias)
        return nn.Dense(size, kernel_init=kernel_init, bias_init=bias_init)


def _uniform(bound: float):
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


def from_flax(module: nn.Module) -> Network:
    """A flax module as a `Network`."""
    return Network(module.init, module.apply)


def torso(hidden_sizes: Sequence[int] = (256, 256), **options) -> Network:
    """A shared torso: an MLP that ends with its last hidden activation (options: those of `MLP`)."""
    return from_flax(MLP(hidden_sizes, **options))


def critic(hidden_sizes: Sequence[int] = (256, 256), **options) -> Network:
    """A state-value network: `apply(params, observation) -> [*batch]` (options: those of `MLP`)."""
    module = MLP(hidden_sizes, 1, **options)
    return Network(module.init, lambda params, observation: module.apply(params, observation)[..., 0])


def ensemble(network: Network, num: int = 2) -> Network:
    """A network whose outputs get a leading axis `[ensemble]`, its members differing by their initialization.

    Every parameter has that leading axis too, so that `apply` on a part of them is that part of the ensemble.

    Args:
        network: one member; `apply` gives arrays.
        num: number of members.
    """
    return Network(
        init=lambda key, *inputs: jax.vmap(lambda one: network.init(one, *inputs))(jax.random.split(key, num)),
        apply=lambda params, *inputs: jax.vmap(lambda one: network.apply(one, *inputs))(params),
    )


def action_critic(
    hidden_sizes: Sequence[int] = (256, 256), *, num: int = 2, num_actions: int | None = None, **options
) -> Network:
    """An ensemble of action-value networks: `apply(params, observation, action) -> [ensemble, *batch]`.

    `init(key, observation, action)`. Leading axes of observation and action are broadcast against each other, so that
    many actions of one state need no copies of it. Every parameter has the leading axis `[ensemble]`: `apply` on a
    part of them is that part of the ensemble.

    Args:
        hidden_sizes: widths of the hidden layers.
        num: members of the ensemble.
        num_actions: how many discrete actions there are, numbered from 0, which the networks see one-hot; None for
            vectors.
        **options: those of `MLP`; here activation is relu and initialization uniform, unless they are given.
    """
    members = ensemble(critic(hidden_sizes, **_OFF_POLICY | options), num)

    def both(observation: Array, action: Array) -> Array:
        return join(observation, action if num_actions is None else jax.nn.one_hot(action, num_actions))

    return Network(
        init=lambda key, observation, action: members.init(key, both(observation, action)),
        apply=lambda params, observation, action: members.apply(params, both(observation, action)),
    )


def join(observation: Float[Array, "... observation"], action: Float[Array, "... action"]) -> Float[Array, "..."]:
    """Both side by side along the last axis, their leading axes broadcast against each other."""
    batch = jnp.broadcast_shapes(observation.shape[:-1], action.shape[:-1])
    return jnp.concatenate([jnp.broadcast_to(x, (*batch, x.shape[-1])) for x in (observation, action)], axis=-1)


def deterministic(action_space: gymnasium.spaces.Space, hidden_sizes: Sequence[int] = (256, 256), **options) -> Network:
    """A deterministic policy: `apply(params, observation) -> action` within the bounds of a `Box`, by a tanh.

    Args:
        action_space: a bounded `Box`.
        hidden_sizes: widths of the hidden layers.
        **options: those of `MLP`; here activation is relu and initialization uniform, unless they are given.

    Raises:
        ValueError: the space is not a `Box`, or is unbounded.
    """
    module = MLP(hidden_sizes, box_size(action_space), **_OFF_POLICY | options)
    middle, half = middle_and_half(action_space)
    return Network(module.init, lambda params, observation: middle + half * jnp.tanh(module.apply(params, observation)))


class _GaussianHead(nn.Module):
    mlp: MLP
    action_size: int
    state_dependent_std: bool
    initial_std: float
    min_std: float
    log_std_bounds: tuple[float, float] | None

    @nn.compact
    def __call__(self, x):
        output = self.mlp(x)
        if self.state_dependent_std:
            mean, raw_std = jnp.split(output, 2, axis=-1)
            if self.log_std_bounds is not None:
                return mean, jnp.exp(jnp.clip(raw_std + np.log(self.initial_std), *self.log_std_bounds))
            # softplus(raw + shift) starts at initial_std where the head starts at zero.
            shift = np.log(np.expm1(self.initial_std - self.min_std))
            return mean, nn.softplus(raw_std + shift) + self.min_std
        initial_log_std = nn.initializers.constant(np.log(self.initial_std))
        log_std = self.param("log_std", initial_log_std, (self.action_size,))
        if self.log_std_bounds is not None:
            return output, jnp.exp(jnp.clip(log_std, *self.log_std_bounds))
        return output, jnp.maximum(jnp.exp(log_std), self.min_std)


def gaussian_policy(
    action_space: gymnasium.spaces.Space,
    hidden_sizes: Sequence[int] = (256, 256),
    *,
    squash: str = "clip",
    state_dependent_std: bool = False,
    initial_std: float = 1.0,
    min_std: float = 1e-3,
    log_std_bounds: tuple[float, float] | None = None,
    bounded_mean: bool = False,
    **options,
) -> Network:
    """Diagonal Gaussian policy: `apply(params, observation) -> ActionDistribution`.

    Args:
        action_space: a bounded `Box` (unbounded only with `squash="identity"`).
        hidden_sizes: widths of the hidden layers.
        squash: `"clip"` sends clipped samples to the environment and keeps the Gaussian density (the usual PPO);
            `"tanh"` squashes, with the exact change of density; `"identity"` leaves actions alone.
        state_dependent_std: the scale is an output of the network (softplus) rather than one parameter per action.
        initial_std: scale at initialization, in units of the raw action.
        min_std: lower bound of the scale.
        log_std_bounds: the scale is the exponential of the parameter or output, clipped to these bounds, in place of
            softplus and `min_std`.
        bounded_mean: a tanh keeps the mean within the bounds of the actions.
        **options: those of `MLP` (`activation`, `layer_norm`, `initialization` …).

    Raises:
        ValueError: the space is not a `Box`, or is unbounded where bounds are needed.
    """
    size = box_size(action_space, needs_bounds=squash != "identity" or bounded_mean)
    outputs = 2 * size if state_dependent_std else size
    mlp = MLP(hidden_sizes, outputs, **{"output_scale": 0.01} | options)
    module = _GaussianHead(mlp, size, state_dependent_std, initial_std, min_std, log_std_bounds)

    def apply(params: PyTree, observation: Float[Array, "*batch observation"]) -> ActionDistribution:
        mean, std = module.apply(params, observation)
        if bounded_mean:
            middle, half = middle_and_half(action_space)
            mean = middle + half * jnp.tanh(mean)
        return distributions.gaussian(mean, std, action_space.low, action_space.high, squash=squash)

    return Network(module.init, apply)


def beta_policy(action_space: gymnasium.spaces.Space, hidden_sizes: Sequence[int] = (256, 256), **options) -> Network:
    """Beta policy on a bounded `Box`; both concentrations are `1 + softplus(head)`, hence unimodal.

    References:
        Chou, Maturana, Scherer (2017). Improving Stochastic Policy Gradients in Continuous Control with Deep
        Reinforcement Learning using the Beta Distribution. ICML.
    """
    size = box_size(action_space)
    module = MLP(hidden_sizes, 2 * size, output_scale=0.01, **options)

    def apply(params: PyTree, observation: Float[Array, "*batch observation"]) -> ActionDistribution:
        concentration1, concentration0 = jnp.split(1 + nn.softplus(module.apply(params, observation)), 2, -1)
        return distributions.beta(concentration1, concentration0, action_space.low, action_space.high)

    return Network(module.init, apply)


def categorical_policy(
    action_space: gymnasium.spaces.Space, hidden_sizes: Sequence[int] = (256, 256), **options
) -> Network:
    """Softmax policy over a `Discrete` space that starts at zero."""
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

    `kind`: `"gaussian"` (clipped, free scale), `"gaussian_state"` (clipped, state-dependent scale), `"tanh"`
    (tanh-squashed, state-dependent scale), `"beta"`, `"categorical"`, or `"auto"`: categorical for a
    `Discrete` space, gaussian for a `Box`.

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


def middle_and_half(action_space: gymnasium.spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    """The middle between the bounds of the actions, and half of what lies between them."""
    return (action_space.high + action_space.low) / 2, (action_space.high - action_space.low) / 2


def box_size(action_space: gymnasium.spaces.Space, *, needs_bounds: bool = True) -> int:
    """The number of dimensions of an action.

    Raises:
        ValueError: the space is not a `Box` with one axis, or is unbounded where bounds are needed.
    """
    if not isinstance(action_space, gymnasium.spaces.Box) or len(action_space.shape) != 1:
        raise ValueError(f"action_space must be a Box with one axis, got {action_space}")
    if needs_bounds and not action_space.is_bounded():
        raise ValueError(
            f"action_space must be bounded, but for a Gaussian policy with squash='identity'; got {action_space}"
        )
    return action_space.shape[0]
