"""Networks that remember: recurrent cells behind one protocol, evaluated step by step or over a whole unroll.

A cell of any other library fits by giving the same four functions; `unrolled` makes the last of them from the third.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PRNGKeyArray, PyTree

from rlx.policies.initializers import orthogonal
from rlx.policies.networks import Network


class Recurrent(NamedTuple):
    """A network with a carry, the memory of a sequence. Leading axes: `[env]` of a step, `[time, env]` of an unroll.

    Attributes:
        init: `(key, x) -> params`, of one input.
        begin: `count -> carry` with which so many sequences begin.
        step: `(params, carry, x) -> (carry, features)`.
        unroll: `(params, carry, xs, first) -> (carries, features)`: all steps, and the carry after each of them.
            Where `first` is true a sequence begins: its step starts from the carry of `begin`.
    """

    init: Callable[[PRNGKeyArray, PyTree], PyTree]
    begin: Callable[[int], PyTree]
    step: Callable[[PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]
    unroll: Callable[[PyTree, PyTree, PyTree, Bool[Array, "time env"]], tuple[PyTree, PyTree]]


def begun(first: Bool[Array, "*batch env"], beginning: PyTree, carry: PyTree) -> PyTree:
    """The carry, or the beginning's where a sequence begins.

    Args:
        first: where a sequence begins.
        beginning: what `begin` gives for so many, leading axis `[env]`.
        carry: leading axes `[*batch, env]`.
    """
    pick = lambda new, old: jnp.where(first.reshape(*first.shape, *[1] * (old.ndim - first.ndim)), new, old)
    return jax.tree.map(pick, beginning, carry)


def unrolled(begin: Callable[[int], PyTree], step: Callable[[PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]):
    """The `unroll` of any cell: one step after the other.

    Args:
        begin: as of a `Recurrent`.
        step: as of a `Recurrent`.
    """

    def unroll(params: PyTree, carry: PyTree, xs: PyTree, first: Bool[Array, "time env"]) -> tuple[PyTree, PyTree]:
        beginning = begin(first.shape[1])

        def one_step(carry: PyTree, inputs: tuple[PyTree, Array]) -> tuple[PyTree, tuple[PyTree, PyTree]]:
            x, first = inputs
            carry, features = step(params, begun(first, beginning, carry), x)
            return carry, (carry, features)

        return jax.lax.scan(one_step, carry, (xs, first))[1]

    return unroll


def gru(size: int) -> Recurrent:
    """A gated recurrent unit of vectors; its features are its carry.

    Args:
        size: of the carry.

    References:
        Cho et al., 2014, "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
        Translation", arXiv:1406.1078.
    """
    kernel, recurrent = nn.initializers.lecun_normal(), orthogonal()

    def init(key: PRNGKeyArray, x: Array) -> dict[str, Array]:
        keys = jax.random.split(key, 6)
        joined = lambda make, keys, inputs: jnp.concatenate([make(key, (inputs, size), x.dtype) for key in keys], -1)
        return {
            "input": joined(kernel, keys[:3], x.shape[-1]),
            "recurrent": joined(recurrent, keys[3:], size),
            "bias": jnp.zeros(3 * size, x.dtype),
            "candidate_bias": jnp.zeros(size, x.dtype),
        }

    def begin(count: int) -> Array:
        return jnp.zeros((count, size))

    def driven(params: dict[str, Array], x: Array) -> Array:
        return x @ params["input"] + params["bias"]

    def move(params: dict[str, Array], carry: Array, driving: Array) -> tuple[Array, Array]:
        reset, update, candidate = jnp.split(driving, 3, axis=-1)
        recurrent = carry @ params["recurrent"]
        from_reset, from_update, from_candidate = jnp.split(recurrent, 3, axis=-1)
        candidate += nn.sigmoid(reset + from_reset) * (from_candidate + params["candidate_bias"])
        update = nn.sigmoid(update + from_update)
        carry = (1 - update) * jnp.tanh(candidate) + update * carry
        return carry, carry

    def unroll(params: dict[str, Array], carry: Array, xs: Array, first: Bool[Array, "time env"]):
        # What comes from the inputs needs no loop.
        return unrolled(begin, move)(params, carry, driven(params, xs), first)

    return Recurrent(init, begin, lambda params, carry, x: move(params, carry, driven(params, x)), unroll)


def ssm(size: int, *, min_radius: float = 0.5, max_radius: float = 0.99, max_phase: float = np.pi / 10) -> Recurrent:
    r"""A diagonal state-space layer of vectors, whose unroll is a parallel scan over time.

    $$ h_t = \lambda \odot h_{t-1} + \sqrt{1 - |\lambda|^2} \odot B x_t, \qquad
       y_t = \mathrm{gelu}(\mathrm{Re}(C h_t) + D x_t + b) $$

    The eigenvalues λ = exp(−exp(ν) + i exp(θ)) are complex and lie within the unit circle whatever is learned. Where a
    sequence begins the factor of the past is 0, so that the scan stays associative.

    Args:
        size: of the complex state, and of the features.
        min_radius: lower bound of |λ| at initialization, uniform on the ring between the bounds.
        max_radius: upper bound.
        max_phase: upper bound of λ's phase at initialization. The defaults are ours.

    References:
        Orvieto et al., 2023, "Resurrecting Recurrent Neural Networks for Long Sequences", arXiv:2303.06349.
        Lu et al., 2023, "Structured State Space Models for In-Context Reinforcement Learning", arXiv:2303.03982.
    """
    dense = nn.initializers.lecun_normal()

    def init(key: PRNGKeyArray, x: Array) -> dict[str, Array]:
        keys = jax.random.split(key, 7)
        radius_squared = jax.random.uniform(keys[0], (size,), x.dtype, min_radius**2, max_radius**2)
        phase = jax.random.uniform(keys[1], (size,), x.dtype, 1e-3 * max_phase, max_phase)
        inputs = lambda key: dense(key, (x.shape[-1], size), x.dtype)
        outputs = lambda key: dense(key, (size, size), x.dtype)
        return {
            "nu": jnp.log(-0.5 * jnp.log(radius_squared)),
            "theta": jnp.log(phase),
            # Real and imaginary parts, since optimizers know real numbers best.
            "b_real": inputs(keys[2]) / np.sqrt(2),
            "b_imaginary": inputs(keys[3]) / np.sqrt(2),
            "c_real": outputs(keys[4]),
            "c_imaginary": outputs(keys[5]),
            "d": inputs(keys[6]),
            "bias": jnp.zeros(size, x.dtype),
        }

    def begin(count: int) -> Array:
        return jnp.zeros((count, size), complex)

    def eigenvalues(params: dict[str, Array]) -> Array:
        return jnp.exp(jax.lax.complex(-jnp.exp(params["nu"]), jnp.exp(params["theta"])))

    def driven(params: dict[str, Array], x: Array) -> Array:
        # 1 − |λ|² without cancellation, which also keeps the gradient of the root finite.
        gamma = jnp.sqrt(-jnp.expm1(-2 * jnp.exp(params["nu"])))
        return jax.lax.complex(gamma * (x @ params["b_real"]), gamma * (x @ params["b_imaginary"]))

    def read(params: dict[str, Array], state: Array, x: Array) -> Array:
        linear = state.real @ params["c_real"] - state.imag @ params["c_imaginary"]
        return nn.gelu(linear + x @ params["d"] + params["bias"])

    def step(params: dict[str, Array], carry: Array, x: Array) -> tuple[Array, Array]:
        state = eigenvalues(params) * carry + driven(params, x)
        return state, read(params, state, x)

    def unroll(params: dict[str, Array], carry: Array, xs: Array, first: Bool[Array, "time env"]):
        factor = jnp.where(first[..., None], 0.0, eigenvalues(params))
        driving = driven(params, xs)
        driving = driving.at[0].add(factor[0] * carry)

        def after(earlier: tuple[Array, Array], later: tuple[Array, Array]) -> tuple[Array, Array]:
            return later[0] * earlier[0], later[0] * earlier[1] + later[1]

        _, states = jax.lax.associative_scan(after, (factor, driving))
        return states, read(params, states, xs)

    return Recurrent(init, begin, step, unroll)


def encoded(encoder: Network, cell: Recurrent) -> Recurrent:
    """A cell that sees what a network makes of single inputs.

    Args:
        encoder: `init`/`apply` of the inputs.
        cell: `Recurrent` of the encoder's features.
    """

    def init(key: PRNGKeyArray, x: PyTree) -> dict[str, PyTree]:
        encoder_key, cell_key = jax.random.split(key)
        params = encoder.init(encoder_key, x)
        return {"encoder": params, "cell": cell.init(cell_key, encoder.apply(params, x))}

    see = lambda params, x: encoder.apply(params["encoder"], x)
    return Recurrent(
        init=init,
        begin=cell.begin,
        step=lambda params, carry, x: cell.step(params["cell"], carry, see(params, x)),
        unroll=lambda params, carry, xs, first: cell.unroll(params["cell"], carry, see(params, xs), first),
    )


def side_by_side(*cells: Recurrent) -> Recurrent:
    """Several cells of the same inputs; carries and features are tuples, one entry for each cell.

    Args:
        *cells: such as one for a policy and one for a critic.
    """
    swapped = lambda pairs: tuple(zip(*pairs, strict=True))
    return Recurrent(
        init=lambda key, x: tuple(
            cell.init(one, x) for cell, one in zip(cells, jax.random.split(key, len(cells)), strict=True)
        ),
        begin=lambda count: tuple(cell.begin(count) for cell in cells),
        step=lambda params, carry, x: swapped(
            cell.step(p, c, x) for cell, p, c in zip(cells, params, carry, strict=True)
        ),
        unroll=lambda params, carry, xs, first: swapped(
            cell.unroll(p, c, xs, first) for cell, p, c in zip(cells, params, carry, strict=True)
        ),
    )


CELLS: dict[str, Callable[[int], Recurrent]] = {"gru": gru, "ssm": ssm}
"""Name of a cell -> from its size to a `Recurrent`."""
