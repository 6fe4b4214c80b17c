"""Low-rank adapters: what a matrix learns on top of its frozen kernel is a product of two thin matrices.

adapters = lora.init(key, params, rank=8, matrices=("query", "value"))
loss_of = lambda adapters: loss(lora.merge(params, adapters, scale=16 / 8))
gradient = jax.grad(loss_of)(adapters)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rlx.types import Scalar


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Adapted:
    """A kernel and its adapter in the kernel's place: x @ adapted = x · kernel + (x · down) · up.

    kernel: [*layer, inputs, outputs].
    down: [*layer, inputs, rank].
    up: [*layer, rank, outputs].
    """

    kernel: Array
    down: Array
    up: Array

    def astype(self, dtype: DTypeLike) -> Adapted:
        return jax.tree.map(lambda x: x.astype(dtype), self)

    def __rmatmul__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        return x @ self.kernel + (x @ self.down) @ self.up


def init(
    key: PRNGKeyArray,
    params: PyTree,
    *,
    rank: int,
    matrices: Sequence[str] = ("query", "key", "value", "output", "gate", "up", "down"),
    dtype: str = "float32",
) -> PyTree:
    """Adapters that change nothing yet: up = 0, and down uniform within ±1/√inputs, as the authors' code draws it.

    Args:
        key: random key.
        params: parameters of the model.
        rank: rank r of the change.
        matrices: which matrices get one: any of query, key, value, output, gate, up and down, and unembedding where it
            is not tied to the embedding.
        dtype: of the adapters; float32 also over a bfloat16 model, whose steps would be rounded away otherwise.

    Returns:
        {"layers": {name: {"down": [L, inputs, r], "up": [L, r, outputs]}}, "unembedding": {"down": [D, r], "up":
        [r, V]}}, with the matrices that were asked for.

    Raises:
        ValueError: for a matrix that the model has not, or a rank below 1 or above what a matrix can have.

    References:
        Hu et al., 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685.
    """
    groups = {"layers": params["layers"], None: params}
    kernels = {
        (group, name): entry["kernel"]
        for group, entries in groups.items()
        for name, entry in entries.items()
        if isinstance(entry, dict) and "kernel" in entry
    }
    names = sorted(name for _, name in kernels)
    if unknown := [name for name in matrices if name not in names]:
        raise ValueError(f"matrices must be of {', '.join(names)}; got {', '.join(map(repr, unknown))}")

    adapters: dict = {}
    for (group, name), kernel in kernels.items():
        if name not in matrices:
            continue
        *layer, inputs, outputs = kernel.shape
        if not 1 <= rank <= min(inputs, outputs):
            raise ValueError(f"rank must be from 1 to {min(inputs, outputs)} for {name} {kernel.shape}, got {rank}")
        # A key by name, so that a matrix starts alike whichever others have adapters.
        down_key = jax.random.fold_in(key, names.index(name))
        down = jax.random.uniform(down_key, (*layer, inputs, rank), dtype, -(inputs**-0.5), inputs**-0.5)
        entry = {name: {"down": down, "up": jnp.zeros((*layer, rank, outputs), dtype)}}
        adapters |= entry if group is None else {group: adapters.get(group, {}) | entry}
    return adapters


def merge(params: PyTree, adapters: PyTree, *, scale: Scalar = 1.0) -> PyTree:
    """Parameters in which adapted kernels are kernel + scale · down · up: the model is called, and saved, as any other.

    Differentiated with respect to the adapters alone, it trains them and nothing else: only they have gradients and an
    optimizer state. The merged kernels, and in the backward pass their gradients, are arrays of full size.

    Args:
        params: parameters of the model.
        adapters: what `init` returns.
        scale: the paper's α / rank.

    Returns:
        Parameters as those given; adapted kernels are rounded to the dtype that they had.

    Raises:
        ValueError: for an adapter of a matrix that the model has not, or whose shapes do not fit.

    References:
        Hu et al., 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685.
    """
    return _replace(_merged, params, adapters, scale)


def attach(params: PyTree, adapters: PyTree, *, scale: Scalar = 1.0) -> PyTree:
    """Parameters in which adapters stay apart: a matrix maps x to x · kernel + (x · down) · (scale · up).

    The model is called with them as with any others. No array is of a kernel's size but the kernels, and a change too
    small for a kernel's bfloat16 is not rounded away.

    Args:
        params: parameters of the model.
        adapters: what `init` returns.
        scale: the paper's α / rank.

    Returns:
        Parameters as those given, with an `Adapted` in place of each adapted kernel; the unembedding's is merged, since
        logits are computed in several ways.

    Raises:
        ValueError: for an adapter of a matrix that the model has not, or whose shapes do not fit.

    References:
        Hu et al., 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685.
    """
    layers = {name: adapter for name, adapter in adapters.items() if name == "layers"}
    others = {name: adapter for name, adapter in adapters.items() if name != "layers"}
    return _replace(Adapted, _replace(_merged, params, others, scale), layers, scale)


def _merged(kernel, down, up):
    wide = jnp.promote_types(kernel.dtype, up.dtype)
    return (kernel.astype(wide) + (down @ up).astype(wide)).astype(kernel.dtype)


def _replace(adapted, params, adapters, scale, path=()):
    """The nested dict `params`, each kernel of `adapters` replaced by adapted(kernel, down, scale · up)."""
    if not isinstance(params, dict):
        raise ValueError(f"adapters must be of the model's matrices, got one of {'/'.join(path)}; make them with init")
    if "kernel" not in params:
        inner = {name: _replace(adapted, params.get(name), adapters[name], scale, (*path, name)) for name in adapters}
        return params | inner
    kernel, down, up = params["kernel"], adapters["down"], adapters["up"]
    if down.shape[:-1] != kernel.shape[:-1] or (*down.shape[:-2], down.shape[-1], kernel.shape[-1]) != up.shape:
        raise ValueError(
            f"down {down.shape} and up {up.shape} of {'/'.join(path)} must be factors of its kernel {kernel.shape}"
        )
    return params | {"kernel": adapted(kernel, down, jnp.asarray(scale, up.dtype) * up)}
