"""Minari's format inside its two files: `main_data.hdf5`, a group per episode, and `metadata.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlx.data.dataset import Dataset, DatasetError

if TYPE_CHECKING:
    import gymnasium
    import h5py

DATA, METADATA = "main_data.hdf5", "metadata.json"

VERSION = "0.5.3"
"""The version of Minari whose format is written; it refuses files that name none that it knows."""

NAMES = {
    "observation": "observations",
    "action": "actions",
    "reward": "rewards",
    "next_observation": "observations",
    "terminated": "terminations",
    "truncated": "truncations",
}


def read_metadata(folder: Path) -> dict[str, Any]:
    """`metadata.json` of a dataset in HDF5.

    Raises:
        DatasetError: it is missing, no JSON, or of a dataset in another format.
    """
    path = folder / METADATA
    if not path.exists():
        raise DatasetError(f"there is no file {path.name}: it is not a dataset of Minari")
    try:
        metadata = json.loads(path.read_text())
    except ValueError as error:
        raise DatasetError(f"{path.name} is not valid JSON ({error})") from None
    if not isinstance(metadata, dict):
        raise DatasetError(f"{path.name} must hold names and values, got {type(metadata).__name__}")
    if metadata.get("data_format", "hdf5") != "hdf5":
        raise DatasetError(f"it is stored as {metadata['data_format']!r}; only 'hdf5' is read")
    return metadata


def read_episodes(
    file: h5py.File, metadata: Mapping[str, Any], read: Callable[[h5py.Group, str], np.ndarray]
) -> dict[str, np.ndarray]:
    """Rows of all episodes, in the order of their numbers.

    Args:
        file: the opened `main_data.hdf5`.
        metadata: of the dataset.
        read: how an array of a group is read.

    Raises:
        DatasetError: an episode lacks an array, or its arrays differ in length.
    """
    numbers = sorted(int(name.removeprefix("episode_")) for name in file if re.fullmatch(r"episode_\d+", name))
    expected = metadata.get("total_episodes", len(numbers))
    if len(numbers) != expected:
        raise DatasetError(f"{METADATA} tells of {expected} episodes, {DATA} holds {len(numbers)}")
    spaces = {name: _space(metadata, name) for name in ("observation_space", "action_space")}
    if spaces["action_space"].get("type") in ("Dict", "Tuple"):
        raise DatasetError("actions must be of one part, got a space of the type " + spaces["action_space"]["type"])
    parts: dict[str, list[np.ndarray]] = {field: [] for field in NAMES}
    for number in numbers:
        group = file[f"episode_{number}"]
        try:
            episode = {field: read(group, key) for field, key in NAMES.items() if not field.endswith("observation")}
            steps = len(episode["reward"])
            observations = _observations(group, spaces["observation_space"], read)
            lengths = {NAMES[field]: len(x) for field, x in episode.items()} | {"observations": len(observations)}
            if lengths != {name: steps + (name == "observations") for name in lengths}:
                listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
                raise DatasetError(f"observations must be one more than steps, and the rest as many, got {listed}")
        except DatasetError as error:
            raise DatasetError(f"episode_{number}: {error}") from None
        episode |= {"observation": observations[:-1], "next_observation": observations[1:]}
        if steps and not episode["terminated"][-1]:
            # The following row is another episode, whether or not its end was logged.
            episode["truncated"] = np.append(episode["truncated"][:-1], True)
        for field, x in episode.items():
            parts[field].append(x)
    if not numbers:
        raise DatasetError("there are no episodes")
    try:
        return {field: np.concatenate(arrays) for field, arrays in parts.items()}
    except ValueError as error:
        raise DatasetError(f"arrays of different episodes do not fit together ({error})") from None


def write_episodes(file: h5py.File, dataset: Dataset) -> None:
    """Writes a group for each episode.

    Raises:
        DatasetError: the observations of an episode do not follow from each other.
    """
    rows = {field: np.asarray(getattr(dataset, field)) for field in NAMES}
    inside = ~(rows["terminated"] | rows["truncated"])[:-1]
    if not np.allclose(rows["next_observation"][:-1][inside], rows["observation"][1:][inside], atol=1e-5):
        raise DatasetError(
            "next observations differ from the observations of the following steps inside episodes, which Minari's "
            "format cannot hold; write it as .hdf5"
        )
    starts = np.asarray(dataset.episode_start)
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], dataset.num_rows])):
        group = file.create_group(f"episode_{number}")
        group.attrs.update({"id": number, "total_steps": end - start})
        observations = np.concatenate([rows["observation"][start:end], rows["next_observation"][end - 1 : end]])
        group.create_dataset("observations", data=observations)
        for field in ("action", "reward", "terminated", "truncated"):
            group.create_dataset(NAMES[field], data=rows[field][start:end])


def complete_metadata(dataset: Dataset, metadata: Mapping[str, Any], *, default_id: str) -> dict[str, Any]:
    """The metadata with all that Minari needs to load the dataset."""
    name = metadata.get("dataset_id", default_id)
    defaults = {
        "observation_space": _unbounded(dataset.observation),
        "action_space": _unbounded(dataset.action),
    }
    return {
        **defaults,
        **{name: value for name, value in metadata.items() if value is not None},
        # Its names have versions and no dots.
        "dataset_id": name if re.search(r"-v\d+$", name) else f"{re.sub(r'[^-_/a-zA-Z0-9]', '-', name)}-v0",
        "total_episodes": dataset.num_episodes,
        "total_steps": dataset.num_rows,
        "data_format": "hdf5",
        "jpeg_encoding": False,
        "minari_version": VERSION,
    }


def describe_space(space: gymnasium.Space) -> str:
    """A Box or Discrete space as Minari writes it, a line of JSON.

    Raises:
        DatasetError: another kind of space.
    """
    if hasattr(space, "n") and hasattr(space, "start"):
        return json.dumps({"type": "Discrete", "dtype": "int64", "start": int(space.start), "n": int(space.n)})
    if not (hasattr(space, "low") and hasattr(space, "high")):
        raise DatasetError(f"a space must be a Box or Discrete to be described, got {space}")
    bounds = {"low": space.low.tolist(), "high": space.high.tolist()}
    return json.dumps({"type": "Box", "dtype": str(space.dtype), "shape": list(space.shape), **bounds})


def _unbounded(x: Any) -> str:
    """The space of rows of which nothing else is known."""
    dtype, shape = np.dtype(x.dtype), list(x.shape[1:])
    if np.issubdtype(dtype, np.integer) and not shape:
        return json.dumps({"type": "Discrete", "dtype": "int64", "start": 0, "n": int(np.max(x)) + 1})
    limits = np.iinfo(dtype) if np.issubdtype(dtype, np.integer) else None
    low, high = (limits.min, limits.max) if limits else (-np.inf, np.inf)
    bounds = {name: np.full(shape, bound).tolist() for name, bound in (("low", low), ("high", high))}
    return json.dumps({"type": "Box", "dtype": str(dtype), "shape": shape, **bounds})


def _space(metadata: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A space of the metadata; empty where they do not tell."""
    try:
        space = json.loads(metadata.get(name) or "{}")
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{METADATA}: {name} is not valid JSON ({error})") from None
    return space if isinstance(space, dict) else {}


def _observations(group: h5py.Group, space: Mapping[str, Any], read: Callable) -> np.ndarray:
    """Observations [step, *observation] of an episode."""
    if space.get("type") in (None, "Box", "MultiBinary") and not hasattr(group.get("observations"), "keys"):
        x = read(group, "observations")
        shape = space.get("shape")
        if shape is not None and list(x.shape[1:]) != shape:
            compressed = len(shape) > 1 and x.dtype.kind in "uO"
            what = "images compressed as JPEG are not read" if compressed else f"their space has {shape}"
            raise DatasetError(f"observations have the shape {list(x.shape[1:])}; {what}")
        return x
    return _flatten(group, "observations", space, read)


def _flatten(group: h5py.Group, key: str, space: Mapping[str, Any], read: Callable) -> np.ndarray:
    """Parts of observations end to end [step, feature]."""
    kind = space.get("type")
    child = group.get(key)
    if kind in ("Dict", "Tuple") or hasattr(child, "keys"):
        if not hasattr(child, "keys"):
            raise DatasetError(f"{key} must be a group, as their space is a {kind}")
        spaces = space.get("subspaces", {name: {} for name in sorted(child)})
        named = spaces if isinstance(spaces, dict) else {f"_index_{i}": part for i, part in enumerate(spaces)}
        return np.concatenate([_flatten(child, name, part, read) for name, part in named.items()], axis=1)
    x = read(group, key)
    if x.dtype.kind not in "biuf":
        raise DatasetError(f"{key} must hold numbers, got dtype {x.dtype}")
    if kind == "Discrete":
        return _one_hot(x - space.get("start", 0), int(space["n"]), key)
    if kind == "MultiDiscrete":
        digits = (x - np.asarray(space.get("start", 0))).reshape(len(x), -1)
        sizes = np.ravel(space["nvec"])
        return np.concatenate([_one_hot(digit, int(n), key) for digit, n in zip(digits.T, sizes, strict=True)], axis=1)
    return x.reshape(len(x), -1).astype(np.float32)


def _one_hot(x: np.ndarray, n: int, key: str) -> np.ndarray:
    if x.ndim != 1 or ((x < 0) | (x >= n)).any():
        raise DatasetError(f"{key} must be numbers of {n} things")
    return np.eye(n, dtype=np.float32)[x]
