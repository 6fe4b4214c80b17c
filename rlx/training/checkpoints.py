"""Checkpoints of a whole training state by Orbax: asynchronous, atomic, keeping the newest and the best.

A state is stored as the flat list of its arrays, so that any pytree (simulator states included) is stored alike;
the program that restores it supplies the structure.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import Array, PyTree
from orbax.checkpoint import checkpoint_managers as policies

logging.getLogger("absl").setLevel(logging.ERROR)


class CheckpointError(RuntimeError):
    """No checkpoint could be read; the message says which were tried and why each failed."""


def open_manager(
    directory: Path | str, *, keep: int = 2, best_metric: str | None = "eval_return_mean", read_only: bool = False
) -> ocp.CheckpointManager:
    """A manager of the checkpoints in ``directory`` that keeps the newest ``keep`` and the best one by ``best_metric``."""
    score = None if best_metric is None else lambda metrics: metrics[best_metric]
    kept = [policies.LatestN(keep)]
    if score is not None:
        kept.append(policies.BestN(get_metric_fn=score, n=1))
    options = ocp.CheckpointManagerOptions(
        best_fn=score,
        preservation_policy=None if read_only else policies.AnyPreservationPolicy(kept),
        enable_async_checkpointing=not read_only,
        read_only=read_only,
        create=not read_only,
        cleanup_tmp_directories=not read_only,
    )
    return ocp.CheckpointManager(Path(directory).resolve(), options=options)


def save(
    manager: ocp.CheckpointManager, update: int, state: PyTree, metrics: Mapping[str, float] | None = None
) -> None:
    """Starts to save ``state`` under the number ``update``; returns once the arrays are copied.

    ``metrics`` decide which checkpoint is the best; None marks one that cannot be.
    """
    # A copy, because training donates the buffers of the state while Orbax still writes.
    arrays = jax.tree.map(jnp.copy, _pack(state))
    manager.save(update, args=ocp.args.StandardSave(arrays), metrics=metrics)


def restore(manager: ocp.CheckpointManager, template: PyTree, *, update: int | None = None) -> tuple[PyTree, int]:
    """The newest readable state and its update number.

    A checkpoint that cannot be read (cut off by a crash, damaged) is skipped with a warning.

    Args:
      manager: from ``open_manager``.
      template: pytree of arrays or ``jax.ShapeDtypeStruct`` (with shardings where the state is sharded).
      update: exactly this checkpoint instead of the newest readable one.

    Raises:
      CheckpointError: there is no readable checkpoint.
    """
    steps = sorted(manager.all_steps(), reverse=True) if update is None else [update]
    failures = []
    for step in steps:
        try:
            arrays = manager.restore(step, args=ocp.args.StandardRestore(_pack(template)))
        except Exception as error:  # whatever the storage layer meets, an older checkpoint may be whole
            reason = str(error).strip().split("\n")[0][:200]
            failures.append(f"{step}: {reason}")
            warnings.warn(
                f"checkpoint {step} in {manager.directory} cannot be read and is skipped ({reason})", stacklevel=2
            )
        else:
            return _unpack(template, arrays), step
    tried = "; ".join(failures) if failures else "it holds none"
    raise CheckpointError(f"no readable checkpoint in {manager.directory}: {tried}")


def _pack(tree: PyTree) -> dict[str, Array]:
    """Arrays by number; keys as their data; empty arrays left out, which the storage format does not know."""
    leaves = [_key_data(leaf) for leaf in jax.tree.leaves(tree)]
    return {f"{i:05d}": leaf for i, leaf in enumerate(leaves) if np.prod(leaf.shape) > 0}


def _unpack(template: PyTree, arrays: Mapping[str, Array]) -> PyTree:
    leaves, structure = jax.tree.flatten(template)
    restored = []
    for i, leaf in enumerate(leaves):
        array = arrays.get(f"{i:05d}")
        if array is None:
            array = jnp.zeros(leaf.shape, leaf.dtype)
        elif _is_key(leaf):
            array = jax.random.wrap_key_data(array, impl=jax.random.key_impl(jnp.empty((), leaf.dtype)))
        restored.append(array)
    return jax.tree.unflatten(structure, restored)


def _is_key(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _key_data(leaf):
    if not _is_key(leaf):
        return leaf
    if isinstance(leaf, jax.ShapeDtypeStruct):
        data = jax.eval_shape(jax.random.key_data, leaf)
        return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=leaf.sharding)
    return jax.random.key_data(leaf)
