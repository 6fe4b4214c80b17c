"""Checkpoints of a whole training state by Orbax: asynchronous, atomic, keeping the newest and the best.

A state is stored as the flat list of its arrays, so that any pytree (simulator states included) is stored alike;
the program that restores it supplies the structure.
"""

from __future__ import annotations

import json
import logging
import shutil
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
    """A manager of the checkpoints in `directory` that keeps the newest `keep` and the best one by `best_metric`.

    What a crash left behind is set aside with a warning, unless `read_only`.
    """
    directory = Path(directory).resolve()
    if not read_only and jax.process_index() == 0:
        _set_damaged_aside(directory)
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
    return ocp.CheckpointManager(directory, options=options)


def save(
    manager: ocp.CheckpointManager,
    update: int,
    state: PyTree,
    metrics: Mapping[str, float] | None = None,
    *,
    kept: PyTree = True,
) -> None:
    """Starts to save `state` under the number `update`; returns once the arrays are copied.

    Args:
        manager: from `open_manager`.
        update: the checkpoint's number.
        state: what is saved.
        metrics: decide which checkpoint is the best; None marks one that cannot be.
        kept: tree prefix of the state, False at what is left out, such as a replay that is too large.
    """
    # A copy, because training donates the buffers of the state while Orbax still writes.
    arrays = jax.tree.map(jnp.copy, _pack(state, kept))
    manager.save(update, args=ocp.args.StandardSave(arrays), metrics=metrics)


def restore(
    manager: ocp.CheckpointManager, template: PyTree, *, update: int | None = None, kept: PyTree = True
) -> tuple[PyTree, int]:
    """The newest readable state and its update number.

    A checkpoint that cannot be read is skipped with a warning and set aside, so that its number can be saved again.

    Args:
        manager: from `open_manager`.
        template: pytree of arrays or `jax.ShapeDtypeStruct` (with shardings where the state is sharded).
        update: exactly this checkpoint instead of the newest readable one.
        kept: tree prefix of the state, False at what was left out; those leaves come back as zeros.

    Raises:
        CheckpointError: there is no readable checkpoint.
    """
    steps = sorted(manager.all_steps(), reverse=True) if update is None else [update]
    directory = Path(manager.directory)
    expected = _pack(template, kept)
    failures, damaged = [], []
    for step in steps:
        try:
            arrays = manager.restore(step, args=ocp.args.StandardRestore(expected))
        except Exception as error:  # whatever the storage layer meets, an older checkpoint may be whole
            reason = str(error).strip().split("\n")[0][:200]
            failures.append(f"{step}: {reason}")
            damaged.append(directory / str(step))
            warnings.warn(f"checkpoint {step} in {directory} cannot be read and is skipped ({reason})", stacklevel=2)
        else:
            if damaged and jax.process_index() == 0:
                for path in damaged:
                    _set_aside(path)
                manager.reload()
            return _unpack(template, arrays), step
    tried = "; ".join(failures) if failures else "it holds none"
    raise CheckpointError(f"no readable checkpoint in {directory}: {tried}")


def _set_damaged_aside(directory: Path) -> None:
    """Move away what would keep the manager from opening: half-written checkpoints and unreadable metrics."""
    for path in directory.glob("*"):
        if ".orbax-checkpoint-tmp" in path.name:
            warnings.warn(f"half-written checkpoint {path.name} in {directory} is skipped", stacklevel=3)
        elif path.name.isdigit():
            try:
                metrics = path / "metrics" / "metrics"
                json.loads(metrics.read_text() if metrics.exists() else "{}")
            except ValueError as error:
                warnings.warn(
                    f"checkpoint {path.name} in {directory} cannot be read and is skipped ({error})", stacklevel=3
                )
                _set_aside(path)


def _set_aside(path: Path) -> None:
    aside = path.with_name(f"{path.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)


def _pack(tree: PyTree, kept: PyTree = True) -> dict[str, Array | jax.ShapeDtypeStruct]:
    """Arrays by number; keys as their data; empty arrays left out, which the storage format does not know."""
    leaves = [_key_data(leaf) for leaf in jax.tree.leaves(tree)]
    wanted = jax.tree.leaves(jax.tree.map(lambda keep, part: jax.tree.map(lambda _: keep, part), kept, tree))
    return {f"{i:05d}": leaf for i, (leaf, keep) in enumerate(zip(leaves, wanted)) if keep and np.prod(leaf.shape) > 0}


def size_in_bytes(tree: PyTree) -> int:
    """What the arrays of a tree, or of its shapes, take up."""
    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in map(_key_data, jax.tree.leaves(tree)))


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
