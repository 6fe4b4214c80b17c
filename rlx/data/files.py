"""Datasets on disk: D4RL's HDF5 files and Minari's folders.

Whatever is wrong with a file is one `DatasetError` that names the file and the array.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rlx import memory
from rlx.data import minari
from rlx.data.dataset import Dataset, DatasetError, make_dataset
from rlx.data.hdf5 import COPIES, Group
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

INFOS, BEHAVIOR = "infos", "action_log_probs"
"""Group and array in which some of D4RL's files hold log-probabilities of their actions."""

MAX_JSON = 256 * 2**20
"""Bytes of the largest JSON file that is read."""


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
    path, is_folder = _find(path)
    return read_minari(path) if is_folder else read_d4rl(path)


def read_metadata(path: str | os.PathLike) -> dict[str, Any]:
    """What `read_dataset` gives as metadata; transitions are neither read nor checked.

    Args:
        path: as of `read_dataset`.

    Raises:
        DatasetError: there is no such dataset, or its metadata cannot be read.
    """
    path, is_folder = _find(path)
    with _naming(path):
        if is_folder:
            return _minari_metadata(_minari_folder(path))
        _check_regular(path)
        with Group.open(path, memory=memory.free()) as file:
            return _d4rl_metadata(path, file)


def _find(path: str | os.PathLike) -> tuple[Path, bool]:
    """Where a dataset is, and whether it is a folder, in Minari's format."""
    path = Path(path)
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError) as error:
        raise DatasetError(f"there is no dataset {str(path)!r} ({_reason(error)})") from None
    return (path.parent, True) if path.name == minari.DATA else (path, is_folder)


def write_dataset(path: str | os.PathLike, dataset: Dataset, metadata: Mapping[str, Any] | None = None) -> None:
    """Writes a dataset: D4RL's format where the name ends in .hdf5 or .h5, otherwise a folder in Minari's format.

    Args:
        path: where to; nothing may be there yet.
        dataset: the transitions.
        metadata: strings, numbers and lists of numbers by name.

    Raises:
        DatasetError: something is there already, it cannot be written, or the format cannot hold the dataset.
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
    with _naming(path):
        _check_regular(path)
        with Group.open(path, memory=memory.free()) as file:
            held = {field: key for field, key in D4RL_NAMES.items() if key in file or field != "next_observation"}
            # Next observations take as much as observations, whether or not they are in the file.
            file.check_memory([held.get(field, D4RL_NAMES["observation"]) for field in D4RL_NAMES])
            arrays = {field: file.array(key) for field, key in held.items()}
            metadata = _d4rl_metadata(path, file)
        if "next_observation" not in arrays:
            # So checked once as logged: what is wrong is to be found by its row in the file.
            make_dataset(**arrays, next_observation=arrays["observation"], names=D4RL_NAMES)
            arrays = _with_next_observations(arrays)
        return DatasetFile(make_dataset(**arrays, names=D4RL_NAMES), metadata, "D4RL")


def read_behavior_log_prob(path: str | os.PathLike) -> Float[Array, " row"] | None:
    """Log-probabilities of the logged actions under the policies that chose them, where D4RL's file holds them.

    Args:
        path: an HDF5 file of D4RL's, which has them as `infos/action_log_probs`; or any other dataset.

    Returns:
        One number for each row that `read_dataset` gives; None where the dataset holds none.

    Raises:
        DatasetError: the file is missing or damaged, or holds another number of them than rows, or NaN.
    """
    path, is_folder = _find(path)
    if is_folder:
        return None
    _check_regular(path)
    with _naming(path), Group.open(path, memory=memory.free()) as file:
        if not file.is_group(INFOS) or BEHAVIOR not in (infos := file.group(INFOS)):
            return None
        log_prob = infos.array(BEHAVIOR)
        terminated, timeout = (file.array(D4RL_NAMES[field]).astype(bool) for field in ("terminated", "truncated"))
        if log_prob.shape != terminated.shape or not np.isfinite(log_prob).all():
            raise DatasetError(f"{INFOS}/{BEHAVIOR} must be {len(terminated)} finite numbers, one for each row")
        if D4RL_NAMES["next_observation"] not in file:
            timeout = _is_cut(terminated, timeout)
            log_prob = log_prob[~timeout]
    return jnp.asarray(log_prob, float)


def _d4rl_metadata(path: Path, file: Group) -> dict[str, Any]:
    return {"dataset_id": path.stem} | file.attributes


def write_d4rl(path: str | os.PathLike, dataset: Dataset, metadata: Mapping[str, Any] | None = None) -> None:
    """Writes D4RL's format, with `next_observations`; the metadata become attributes of the file.

    Args:
        path: the HDF5 file; it may not exist yet.
        dataset: the transitions.
        metadata: strings, numbers and lists of numbers by name; None is left out, and anything else becomes JSON.

    Raises:
        DatasetError: there is such a file already, or it cannot be written.
    """
    with _new(Path(path)) as temporary, _create(temporary) as file:
        for field, key in D4RL_NAMES.items():
            file.create_dataset(key, data=np.asarray(getattr(dataset, field)), compression="gzip", compression_opts=1)
        for name, value in (metadata or {}).items():
            if value is not None:
                _write_attribute(file, name, value)


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
    folder = _minari_folder(path)
    with _naming(path):
        metadata = _minari_metadata(folder)
        spaces = {name: minari.check_space(name, parse_json(metadata.get(name, "{}"), name)) for name in minari.SPACES}
        _check_regular(folder / minari.DATA)
        with Group.open(folder / minari.DATA, memory=memory.free()) as file:
            rows = minari.read_episodes(file, metadata.get("total_episodes"), spaces)
        return DatasetFile(make_dataset(**rows, names=minari.NAMES), metadata, "Minari")


def _minari_folder(path: Path) -> Path:
    return path / "data" if (path / "data").is_dir() else path


def _minari_metadata(folder: Path) -> dict[str, Any]:
    return minari.check_metadata(read_json(folder / minari.METADATA))


def write_minari(path: str | os.PathLike, dataset: Dataset, metadata: Mapping[str, Any] | None = None) -> None:
    """Writes Minari's format.

    Args:
        path: the dataset's folder; it may not exist yet.
        dataset: the transitions.
        metadata: strings, numbers and lists of numbers by name. "observation_space" and "action_space" may hold
            spaces as `rlx.data.minari.describe_space` writes them; otherwise they are unbounded.

    Raises:
        DatasetError: there is such a folder already, or it cannot be written; or the next observation of a step and
            the observation of the following one differ inside an episode, which this format cannot hold.
    """
    with _new(Path(path)) as temporary:
        folder = temporary / "data"
        folder.mkdir(parents=True)
        with _create(folder / minari.DATA) as file:
            minari.write_episodes(file, dataset)
        complete = minari.complete_metadata(dataset, dict(metadata or {}), default_id=Path(path).name)
        complete["dataset_size"] = round((folder / minari.DATA).stat().st_size / 1e6, 1)
        try:
            text = json.dumps(complete, indent=2)
        except (TypeError, ValueError, RecursionError) as error:
            raise DatasetError(f"metadata must be texts, numbers and lists of them ({error})") from None
        (folder / minari.METADATA).write_text(text, encoding="utf-8")


def check_target(path: str | os.PathLike) -> None:
    """Whether a dataset may be written there, before the work of making it is done; nothing is left behind.

    Raises:
        DatasetError: something is there already, or nothing can be written there.
    """
    with _beside(Path(path)) as temporary:
        temporary.touch()


def read_json(path: str | os.PathLike) -> Any:
    """Reads a JSON file that may be damaged.

    Raises:
        DatasetError: it is missing, no regular file, too large, or no JSON; the message has the name of the file
            without its folder.
    """
    path = Path(path)
    _check_regular(path)
    try:
        if (size := path.stat().st_size) > MAX_JSON:
            raise DatasetError(f"{path.name} has {size:,} bytes; at most {MAX_JSON:,} are read")
        return parse_json(path.read_bytes(), path.name)
    except OSError as error:
        raise DatasetError(f"{path.name} cannot be read ({_reason(error)})") from None


def parse_json(text: str | bytes, what: str) -> Any:
    """The value that a JSON text says.

    Args:
        text: of any origin.
        what: what it is called in a message.

    Raises:
        DatasetError: it is no text, no JSON, or nested too deeply.
    """
    if not isinstance(text, (str, bytes)):
        raise DatasetError(f"{what} must be a text in JSON, got {type(text).__name__}")
    try:
        return json.loads(text)
    except RecursionError:
        raise DatasetError(f"{what} is not valid JSON (it is nested too deeply)") from None
    except ValueError as error:
        raise DatasetError(f"{what} is not valid JSON ({error})") from None


def check_memory(size: int, what: str) -> None:
    """Raises `DatasetError` where arrays of so many bytes, called `what`, and their copies take more than is free."""
    if COPIES * size > (available := memory.free()):
        raise DatasetError(
            f"{what} take about {COPIES * size / 1e9:,.3g} GB of memory, by their shapes; {available / 1e9:,.3g} GB "
            "are free"
        )


def _with_next_observations(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of a log without next observations as transitions; see `read_d4rl`."""
    terminated = np.asarray(arrays["terminated"], bool)
    timeout = _is_cut(terminated, np.asarray(arrays["truncated"], bool))
    # One more row, never used, lets the last step be a pair of rows as well.
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


def _is_cut(terminated: np.ndarray, truncated: np.ndarray) -> np.ndarray:
    """Rows of a log without next observations whose next one no row holds."""
    timeout = truncated & ~terminated
    # The log's end cuts its last episode like a time limit, unless the task ended just there.
    timeout[-1] = not terminated[-1]
    return timeout


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Puts the path before the message of an error."""
    try:
        yield
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from None


def _check_regular(path: Path) -> None:
    """Raises `DatasetError` unless there is a regular file: opening a pipe or a device may wait for ever."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        hint = ": it is not a dataset of Minari" if path.name == minari.METADATA else ""
        raise DatasetError(f"there is no file {path.name}{hint} ({_reason(error)})") from None
    if not stat.S_ISREG(mode):
        raise DatasetError(f"{path.name} is {'a folder' if stat.S_ISDIR(mode) else 'a pipe or device'}, not a file")


def _reason(error: Exception) -> str:
    """What the system says, without the path."""
    return getattr(error, "strerror", None) or str(error)


@contextlib.contextmanager
def _create(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file for writing, which is made in memory: on a full disk h5py prints a traceback for every array."""
    import h5py

    with h5py.File(path, "w", driver="core", backing_store=False, block_size=2**20) as file:
        yield file
        file.flush()
        path.write_bytes(file.id.get_file_image())


def _write_attribute(file: h5py.File, name: str, value: Any) -> None:
    try:
        try:
            file.attrs[name] = value
        except (TypeError, ValueError):  # mappings and mixed lists
            file.attrs[name] = json.dumps(value)
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        raise DatasetError(f"{name!r} of the metadata cannot be an attribute of an HDF5 file ({error})") from None


@contextlib.contextmanager
def _new(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place once all is written."""
    with _beside(path) as temporary:
        yield temporary
        temporary.rename(path)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A path beside `path`, in folders that are made; what of it is not in its place in the end is removed."""
    if os.path.lexists(path):
        raise DatasetError(f"{path} exists already: choose another name, or remove it")
    made = [folder for folder in path.parents if not os.path.exists(folder)]
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path} cannot be written ({_reason(error)})") from None
    finally:
        with contextlib.suppress(OSError):
            remove: Callable = shutil.rmtree if os.path.isdir(temporary) else os.remove
            remove(temporary)
        with contextlib.suppress(OSError):
            # Those that are not empty stay, with all above them.
            for folder in made:
                folder.rmdir()
