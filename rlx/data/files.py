"""Datasets on disk: D4RL's HDF5 files and Minari's folders.

Whatever is wrong with a file is one `DatasetError` that names the file and the array.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from rlx.data import minari
from rlx.data.dataset import Dataset, DatasetError, make_dataset
from rlx.data.offline import transitions

if TYPE_CHECKING:
    import h5py

D4RL_NAMES = {
    "observation": "observations",
    "action": "actions",
    "reward": "rewards",
    "next_observation": "next_observations",
    "terminated": "terminals",
    "truncated": "timeouts",
}
"""Field of a `Dataset` -> key of D4RL's files."""


class DatasetFile(NamedTuple):
    """What a file holds.

    Attributes:
        dataset: its transitions.
        metadata: what else it says of itself: strings, numbers and lists of numbers by name.
        format: "D4RL" or "Minari".
    """

    dataset: Dataset
    metadata: dict[str, Any]
    format: str


def read_dataset(path: str | os.PathLike) -> DatasetFile:
    """Reads a dataset: a file is one of D4RL, a folder one of Minari.

    Args:
        path: the HDF5 file, or Minari's folder (with `data/main_data.hdf5` and `data/metadata.json`, or that `data`
            itself).

    Raises:
        DatasetError: it is missing, damaged, empty or inconsistent.
    """
    path = Path(path)
    if not path.exists():
        raise DatasetError(f"there is no dataset {str(path)!r}")
    if path.name == minari.DATA:
        path = path.parent
    return read_minari(path) if path.is_dir() else read_d4rl(path)


def write_dataset(path: str | os.PathLike, dataset: Dataset, metadata: Mapping[str, Any] | None = None) -> None:
    """Writes a dataset: D4RL's format where the name ends in .hdf5 or .h5, otherwise a folder in Minari's format.

    Args:
        path: where to; nothing may be there yet.
        dataset: the transitions.
        metadata: strings, numbers and lists of numbers by name.

    Raises:
        DatasetError: something is there already, or the format cannot hold the dataset.
    """
    write = write_d4rl if Path(path).suffix.lower() in (".hdf5", ".h5") else write_minari
    write(path, dataset, metadata)


def read_d4rl(path: str | os.PathLike) -> DatasetFile:
    """Reads D4RL's format: `observations actions rewards terminals timeouts`, perhaps `next_observations`.

    Without `next_observations` a step's next observation is the following row's. The step at which the time ran out
    reached an observation that no row holds; it is left out, and the step before it is the last of its episode. What
    a terminal step reached is not known either, and counts for nothing: its own observation stands in.

    Args:
        path: the HDF5 file; its attributes become the metadata.

    Raises:
        DatasetError: it is missing, damaged, empty or inconsistent.
    """
    path = Path(path)
    with _naming(path), _open(path) as file:
        arrays = {field: _array(file, key) for field, key in D4RL_NAMES.items() if key in file}
        for field, key in D4RL_NAMES.items():
            if field not in arrays and field != "next_observation":
                raise DatasetError(f"it has no {key!r}; it holds {', '.join(sorted(file)) or 'nothing'}")
        metadata = {"dataset_id": path.stem} | {name: _plain(value) for name, value in file.attrs.items()}
        if "next_observation" not in arrays:
            # So checked once as logged: what is wrong is to be found by its row in the file.
            make_dataset(**arrays, next_observation=arrays["observation"], names=D4RL_NAMES)
            arrays = _with_next_observations(arrays)
        return DatasetFile(make_dataset(**arrays, names=D4RL_NAMES), metadata, "D4RL")


def write_d4rl(path: str | os.PathLike, dataset: Dataset, metadata: Mapping[str, Any] | None = None) -> None:
    """Writes D4RL's format, with `next_observations`; the metadata become attributes of the file.

    Args:
        path: the HDF5 file; it may not exist yet.
        dataset: the transitions.
        metadata: strings, numbers and lists of numbers by name; None is left out.

    Raises:
        DatasetError: there is such a file already.
    """
    with _new(Path(path)) as temporary, _create(temporary) as file:
        for field, key in D4RL_NAMES.items():
            file.create_dataset(key, data=np.asarray(getattr(dataset, field)), compression="gzip", compression_opts=1)
        for name, value in (metadata or {}).items():
            if value is not None:
                file.attrs[name] = value


def read_minari(path: str | os.PathLike) -> DatasetFile:
    """Reads Minari's format, a group of arrays per episode with one observation more than steps.

    Observations of a Dict, Tuple or Discrete space become vectors, part by part in the order of the space, one-hot
    where something is counted: what `envs.flatten_observations` makes of them. An episode whose last step has neither
    flag counts as truncated there.

    Args:
        path: the dataset's folder, or the folder `data` in it.

    Raises:
        DatasetError: it is missing, damaged, empty or inconsistent, or of a kind that is not read: Arrow files,
            images compressed as JPEG, actions of several parts.
    """
    path = Path(path)
    folder = path / "data" if (path / "data").is_dir() else path
    with _naming(path):
        metadata = minari.read_metadata(folder)
        with _open(folder / minari.DATA) as file:
            rows = minari.read_episodes(file, metadata, _array)
    with _naming(path):
        return DatasetFile(make_dataset(**rows, names=minari.NAMES), metadata, "Minari")


def write_minari(path: str | os.PathLike, dataset: Dataset, metadata: Mapping[str, Any] | None = None) -> None:
    """Writes Minari's format.

    Args:
        path: the dataset's folder; it may not exist yet.
        dataset: the transitions.
        metadata: strings, numbers and lists of numbers by name. "observation_space" and "action_space" may hold
            spaces as `rlx.data.minari.describe_space` writes them; otherwise they are unbounded.

    Raises:
        DatasetError: there is such a folder already; or the next observation of a step and the observation of the
            following one differ inside an episode, which this format cannot hold.
    """
    with _new(Path(path)) as temporary:
        folder = temporary / "data"
        folder.mkdir(parents=True)
        with _create(folder / minari.DATA) as file:
            minari.write_episodes(file, dataset)
        complete = minari.complete_metadata(dataset, dict(metadata or {}), default_id=Path(path).name)
        complete["dataset_size"] = round((folder / minari.DATA).stat().st_size / 1e6, 1)
        (folder / minari.METADATA).write_text(json.dumps(complete, indent=2))


def _with_next_observations(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of a log without next observations as transitions; see `read_d4rl`."""
    terminated = np.asarray(arrays["terminated"], bool)
    timeout = np.asarray(arrays["truncated"], bool) & ~terminated
    # The log's end cuts its last episode like a time limit, unless the task ended just there; one more row, never
    # used, lets that last step be a pair of rows as well.
    timeout[-1] = not terminated[-1]
    logged = {field: arrays[field] for field in ("observation", "action", "reward")}
    padded = {field: jnp.concatenate([x, x[-1:]]) for field, x in logged.items()}
    pairs = transitions(padded, terminal=jnp.append(terminated, False), timeout=jnp.append(timeout, False))
    where = np.asarray(pairs.where)
    if not where.any():
        raise DatasetError("no step has a next observation: every row is a timeout, or the only one")
    after = np.append(where[1:], False)
    step = {field: np.asarray(x)[where] for field, x in pairs.step.items()}
    following = np.asarray(pairs.next_step["observation"])[where]
    ended = terminated[where].reshape(-1, *[1] * (following.ndim - 1))
    return step | {
        "next_observation": np.where(ended, step["observation"], following),
        "terminated": terminated[where],
        "truncated": (~terminated & ~after)[where],
    }


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Puts the path before the message of an error."""
    try:
        yield
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from None


@contextlib.contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file for reading, anything wrong with it a `DatasetError`."""
    import h5py

    if not path.exists():
        raise DatasetError(f"there is no file {path.name}")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        reason = " ".join(str(error).split())
        raise DatasetError(f"it cannot be read as HDF5, it is damaged or of another format ({reason})") from None


def _create(path: Path) -> h5py.File:
    import h5py

    return h5py.File(path, "w")


def _array(group: h5py.Group, key: str) -> np.ndarray:
    import h5py

    if key not in group:
        raise DatasetError(f"it has no {key!r}; it holds {', '.join(sorted(group)) or 'nothing'}")
    if not isinstance(group[key], h5py.Dataset):
        raise DatasetError(f"{key} must be an array, it is a group of {', '.join(sorted(group[key]))}")
    return np.asarray(group[key][()])


@contextlib.contextmanager
def _new(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place once all is written."""
    if path.exists():
        raise DatasetError(f"{path} exists already: choose another name, or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.rename(path)
    finally:
        remove: Callable = shutil.rmtree if temporary.is_dir() else os.remove
        with contextlib.suppress(FileNotFoundError):
            remove(temporary)


def _plain(value: Any) -> Any:
    """An attribute of a file in types of Python."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
