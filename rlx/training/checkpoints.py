"""Checkpoints of a whole training state by Orbax: asynchronous, atomic, keeping the newest and the best.

A state is stored as the flat list of its arrays, so that any pytree (simulator states included) is stored alike;
the program that restores it supplies the structure.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import Array, PyTree
from orbax.checkpoint import checkpoint_managers as policies

from rlx.training.disk import free_name, writing

# What goes wrong in the storage layer reaches us as an exception; its log would repeat it with tracebacks.
logging.getLogger("absl").setLevel(logging.CRITICAL)


class CheckpointError(RuntimeError):
    """No checkpoint could be read; the message says which were tried and why each failed."""


def open_manager(
    directory: Path | str,
    *,
    keep: int = 2,
    best_metric: str = "eval_return_mean",
    restored: int | None = None,
) -> ocp.CheckpointManager:
    """A manager of the checkpoints in `directory` that keeps the newest `keep` and the best one by `best_metric`.

    A checkpoint without that metric counts among the newest alone.

    Args:
        directory: of the checkpoints.
        keep: how many of the newest stay.
        best_metric: name of the metric, of which more is better.
        restored: the checkpoint that the run goes on from. What has a higher number could not be read, and is set
            aside with a warning, so that its number can be saved again.
    """
    directory = Path(directory).resolve()
    _drop_late_callbacks()
    if jax.process_index() == 0:
        _set_damaged_aside(directory, restored)

    def score(metrics: Any) -> float:
        value = metrics.get(best_metric) if isinstance(metrics, Mapping) else None
        return float(value) if isinstance(value, (int, float)) else -math.inf

    kept = [policies.LatestN(keep), policies.BestN(get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False)]
    options = ocp.CheckpointManagerOptions(
        best_fn=score,
        preservation_policy=policies.AnyPreservationPolicy(kept),
        create=True,
        cleanup_tmp_directories=True,
        async_options=ocp.AsyncOptions(post_finalization_callback=lambda: _flush(directory)),
    )
    return ocp.CheckpointManager(directory, options=options)


def _flush(directory: Path) -> None:
    """Wait until the checkpoints' files are on the disk.

    Orbax calls this before a checkpoint gets its name, and before older ones are removed for it. The name alone would
    reach the disk first: after a power failure the newest checkpoints would be empty files, and no older one left.
    """
    for path in directory.rglob("*"):
        # What is being removed meanwhile needs no flush; some network file systems open no folder.
        with contextlib.suppress(FileNotFoundError, IsADirectoryError, PermissionError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


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
    with writing(Path(manager.directory)):
        manager.save(update, args=ocp.args.StandardSave(arrays), metrics=metrics)


def close(manager: ocp.CheckpointManager) -> None:
    """Wait until everything is saved, and let go of the manager.

    Raises:
        DiskError: something could not be saved.
    """
    try:
        with writing(Path(manager.directory)):
            manager.wait_until_finished()
    finally:
        # What went wrong is told above; it must not come a second time.
        with contextlib.suppress(Exception):
            manager.close()


def updates(directory: Path | str) -> list[int]:
    """The numbers of the checkpoints in a folder, ascending, whether they can be read or not."""
    names = [path.name for path in Path(directory).glob("*") if path.name.isdecimal() and path.is_dir()]
    return sorted(int(name) for name in names if str(int(name)) == name)


def restore(
    directory: Path | str,
    template: PyTree,
    *,
    update: int | Sequence[int] | None = None,
    kept: PyTree = True,
) -> tuple[PyTree, int]:
    """The newest readable state and its update number. Changes nothing in the folder.

    A checkpoint that cannot be read is skipped with a warning.

    Args:
        directory: a folder of checkpoints.
        template: pytree of arrays or `jax.ShapeDtypeStruct` (with shardings where the state is sharded).
        update: this checkpoint alone, or the first readable one of several, instead of the newest readable one.
        kept: tree prefix of the state, False at what was left out; those leaves come back as zeros.

    Raises:
        CheckpointError: there is no readable checkpoint.
    """
    directory = Path(directory).resolve()
    wanted = updates(directory)[::-1] if update is None else [update] if isinstance(update, int) else list(update)
    expected = _pack(template, kept)
    failures = {}
    _drop_late_callbacks()
    for number in wanted:
        try:
            _read_metrics(directory / str(number))
            with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
                path = directory / str(number) / "default"
                arrays = checkpointer.restore(path, args=ocp.args.StandardRestore(expected))
        except Exception as error:  # whatever the storage layer meets, an older checkpoint may be whole
            failures[number] = str(error).strip().split("\n")[0][:200] or type(error).__name__
        else:
            for failed, reason in failures.items():
                message = f"checkpoint {failed} in {directory} cannot be read and is skipped ({reason})"
                warnings.warn(message, stacklevel=2)
            return _unpack(template, arrays), number
    tried = "; ".join(f"{number}: {reason}" for number, reason in failures.items())
    raise CheckpointError(f"no readable checkpoint in {directory}: {tried or 'it holds none'}")


def _drop_late_callbacks() -> None:
    """Keep quiet about arrays that are still being read or written when the first that failed has ended the whole.

    Each of them would leave a traceback, dozens for one damaged file or full disk, beside the one line that says what
    happened.
    """
    if getattr(sys.unraisablehook, "drops_late_callbacks", False):
        return
    earlier = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            earlier(unraisable)

    hook.drops_late_callbacks = True
    sys.unraisablehook = hook


def _read_metrics(checkpoint: Path) -> Any:
    """The metrics of a checkpoint, None without any; raises where they are not JSON, which its manager needs."""
    path = checkpoint / "metrics" / "metrics"
    return json.loads(path.read_text()) if path.exists() else None


def _set_damaged_aside(directory: Path, restored: int | None) -> None:
    """Move away what would keep the manager from opening, or from saving again what could not be read."""
    for path in directory.glob("*"):
        if ".orbax-checkpoint-tmp" in path.name:
            warnings.warn(f"half-written checkpoint {path.name} in {directory} is skipped", stacklevel=3)
        elif path.name.isdecimal():
            try:
                _read_metrics(path)
                broken = not path.is_dir()
            except (OSError, ValueError):
                broken = True
            if broken or (restored is not None and int(path.name) > restored):
                path.rename(free_name(path, "damaged"))


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
