"""Where parameters lie on a mesh with the axes `data` and `model`.

    mesh = Mesh(np.array(jax.devices()).reshape(2, 4), ("data", "model"))
    params = jax.device_put(params, partition.shardings(mesh, partition.param_specs(config, mesh)))
    tokens = jax.device_put(tokens, NamedSharding(mesh, partition.BATCH))

The program is the same as on one device: the compiler puts in the sums over devices.
"""

from __future__ import annotations

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from rlx.policies.transformer import model
from rlx.policies.transformer.config import Config

BATCH = P("data")
"""Of tokens, masks and whatever else has the axis [batch] in front."""

_COLUMNS, _ROWS = ("query", "key", "value", "gate", "up", "unembedding"), ("output", "down")


def param_specs(config: Config, mesh: Mesh | AbstractMesh, adapters: PyTree | None = None) -> PyTree:
    """Megatron's split: of two matrices in a row the first by outputs, the second by inputs, so that one sum follows.

    query, key, value, gate and up are split by outputs, that is by heads and by units of the gated layer; output and
    down by inputs; embedding and unembedding by the vocabulary, or the embedding by its width where the vocabulary does
    not divide. Norms, and biases that are added after a sum, are whole on every device. So is everything over `data`.

    Args:
        config: the structure.
        mesh: devices with the axes `data` and `model`.
        adapters: low-rank adapters; if given, the specs are theirs. Each of their two matrices is split as is the side
            of the kernel that it shares.

    Returns:
        A `PartitionSpec` for each parameter, in the structure of `model.init`, or for each of the adapters.

    Raises:
        ValueError: if the mesh lacks an axis, or the axis `model` does not divide the heads or another axis to be
            split.

    References:
        Shoeybi et al., 2019, "Megatron-LM: Training Multi-Billion Parameter Language Models Using Model Parallelism",
        arXiv:1909.08053.
    """
    if missing := {"data", "model"} - set(mesh.axis_names):
        raise ValueError(f"mesh must have the axes data and model, lacks {sorted(missing)}: {dict(mesh.shape)}")
    size = mesh.shape["model"]
    for name in ("num_heads", "num_key_value_heads"):
        if getattr(config, name) % size:
            raise ValueError(
                f"the axis model of {size} devices must divide {name}={getattr(config, name)}: a head is not split"
            )

    def spec(path, leaf):
        names = [entry.key for entry in path]
        axis = _split_axis(names, leaf, size)
        if axis is None:
            return P()
        if leaf.shape[axis] % size:
            raise ValueError(
                f"the axis model of {size} devices must divide axis {axis} of {'/'.join(names)} {leaf.shape}"
            )
        return P(*["model" if i == axis else None for i in range(leaf.ndim)])

    tree = jax.eval_shape(lambda: model.init(jax.random.key(0), config)) if adapters is None else adapters
    return jax.tree_util.tree_map_with_path(spec, tree)


def shardings(mesh: Mesh | AbstractMesh, specs: PyTree) -> PyTree:
    """The specs on a mesh, as `jax.device_put` and `jax.jit` take them."""
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs, is_leaf=lambda x: isinstance(x, P))


def _split_axis(names, leaf, size):
    """Which axis of a parameter is split, None if it is whole."""
    if names == ["embedding"]:
        return 1 if leaf.shape[0] % size else 0
    matrix, part = names[-2:] if len(names) > 1 else (None, None)
    if matrix in _COLUMNS and part in ("kernel", "bias", "up"):
        return leaf.ndim - 1
    if matrix in _ROWS and part in ("kernel", "down"):
        return leaf.ndim - 2
    return None
