"""Minari's format inside its two files: `main_data.hdf5`, a group per episode, and `metadata.json`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from rlx.data.dataset import Dataset, DatasetError
from rlx.data.hdf5 import Group

if TYPE_CHECKING:
    import gymnasium
    import h5py

DATA, METADATA = "main_data.hdf5", "metadata.json"

SPACES = ("observation_space", "action_space")
"""The metadata that hold a space, as a text in JSON."""

MAX_DEPTH, MAX_COUNT = 32, 2**31 - 1
"""How deep spaces may be nested, and the largest number that one may count to."""

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


def check_metadata(metadata: Any) -> dict[str, Any]:
    """What `metadata.json` of a dataset in HDF5 holds, if what is used of it is of the right kind.

    Raises:
        DatasetError: it is of another kind, or of a dataset in another format.
    """
    if not isinstance(metadata, dict):
        raise DatasetError(f"{METADATA} must hold names and values, got {type(metadata).__name__}")
    for name, kind in (("dataset_id", str), ("total_episodes", int), *((space, str) for space in SPACES)):
        value = metadata.get(name)
        if name in metadata and (not isinstance(value, kind) or isinstance(value, bool)):
            what = "a whole number" if kind is int else "a text"
            raise DatasetError(f"{METADATA}: {name} must be {what}, got {value!r:.80}")
    if metadata.get("data_format", "hdf5") != "hdf5":
        raise DatasetError(f"it is stored as {metadata['data_format']!r:.80}; only 'hdf5' is read")
    return metadata


def check_space(name: str, space: Any, depth: int = 0) -> dict[str, Any]:
    """A space as Minari writes it, if what is used of it is of the right kind.

    Args:
        name: what it is called in a message.
        space: what its JSON says; nothing is known of an empty one.
        depth: how many spaces it is part of.

    Raises:
        DatasetError: it is of another kind.
    """

    def refuse(what: str) -> NoReturn:
        raise DatasetError(f"{METADATA}: {name} {what}")

    def check_integers(key: str, least: int) -> None:
        values = np.asarray(space.get(key, 1), object).ravel()
        if not all(type(x) is int and least <= x <= MAX_COUNT for x in values):
            refuse(f"must have whole numbers from {least} to {MAX_COUNT} as {key}, got {space[key]!r:.80}")

    if not isinstance(space, dict):
        refuse(f"must be a space with a type, got {space!r:.80}")
    if depth > MAX_DEPTH:
        refuse(f"is nested more than {MAX_DEPTH} deep")
    kind = space.get("type")
    if not isinstance(kind, str | None):
        refuse(f"must have a text as type, got {kind!r:.80}")
    if not isinstance(space.get("shape", []), list):
        refuse(f"must have a list as shape, got {space['shape']!r:.80}")
    required = {"Discrete": "n", "MultiDiscrete": "nvec"}.get(kind)
    if required is not None and required not in space:
        refuse(f"is a {kind} without {required}")
    for key, least in (("shape", 0), ("n", 1), ("nvec", 1), ("start", -MAX_COUNT)):
        check_integers(key, least)
    if kind == "Discrete" and not all(isinstance(space.get(key, 0), int) for key in ("n", "start")):
        refuse("is a Discrete, whose n and start are one number each")
    if kind == "MultiDiscrete" and np.size(space.get("start", 0)) not in (1, np.size(space["nvec"])):
        refuse("is a MultiDiscrete, whose start must have a number for each of nvec")
    parts = space.get("subspaces", {})
    if not isinstance(parts, (dict, list)):
        refuse(f"must have spaces as subspaces, got {parts!r:.80}")
    for key, part in parts.items() if isinstance(parts, dict) else enumerate(parts):
        check_space(f"{name}/{key}", part, depth + 1)
    return space


def read_episodes(
    file: Group, total_episodes: int | None, spaces: Mapping[str, Mapping[str, Any]]
) -> dict[str, np.ndarray]:
    """Rows of all episodes, in the order of their numbers.

    Args:
        file: the opened `main_data.hdf5`.
        total_episodes: how many there are, if that is known.
        spaces: observation_space and action_space, as `check_space` returns them.

    Raises:
        DatasetError: an episode lacks an array, or its arrays differ in length.
    """
    names = [name for name in file.names if re.fullmatch(r"episode_[0-9]{1,18}", name)]
    names.sort(key=lambda name: int(name.removeprefix("episode_")))
    if total_episodes not in (None, len(names)):
        raise DatasetError(f"{METADATA} tells of {total_episodes} episodes, {DATA} holds {len(names)}")
    if not names:
        raise DatasetError("there are no episodes")
    if spaces["action_space"].get("type") in ("Dict", "Tuple"):
        raise DatasetError("actions must be of one part, got a space of the type " + spaces["action_space"]["type"])
    parts: dict[str, list[np.ndarray]] = {field: [] for field in NAMES}
    for name in names:
        try:
            episode = _episode(file.group(name), spaces["observation_space"])
        except DatasetError as error:
            raise DatasetError(f"{name}: {error}") from None
        for field, x in episode.items():
            parts[field].append(x)
    try:
        return {field: np.concatenate(arrays) for field, arrays in parts.items()}
    except ValueError as error:
        raise DatasetError(f"arrays of different episodes do not fit together ({error})") from None


def _episode(group: Group, observation_space: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Rows of one episode."""
    episode = {field: _rows(group, key) for field, key in NAMES.items() if not field.endswith("observation")}
    for field in ("reward", "terminated", "truncated"):
        if episode[field].ndim != 1:
            raise DatasetError(f"{NAMES[field]} must have one number per step, got the shape {episode[field].shape}")
    steps = len(episode["reward"])
    observations = _observations(group, observation_space)
    group.memory.take(observations.nbytes)  # once more, as next observations
    lengths = {NAMES[field]: len(x) for field, x in episode.items()} | {"observations": len(observations)}
    if lengths != {name: steps + (name == "observations") for name in lengths}:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DatasetError(f"observations must be one more than steps, and the rest as many, got {listed}")
    if steps and not episode["terminated"][-1]:
        # The following row is another episode, whether or not its end was logged.
        episode["truncated"] = np.append(episode["truncated"][:-1], True)
    return episode | {"observation": observations[:-1], "next_observation": observations[1:]}


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
    if not isinstance(name, str):
        raise DatasetError(f"dataset_id must be a text, got {name!r:.80}")
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


def _rows(group: Group, key: str) -> np.ndarray:
    x = group.array(key)
    if not x.ndim:
        raise DatasetError(f"{key} must have a row per step, it is a scalar")
    return x


def _observations(group: Group, space: Mapping[str, Any]) -> np.ndarray:
    """Observations [step, *observation] of an episode."""
    if space.get("type") not in (None, "Box", "MultiBinary") or group.is_group("observations"):
        return _flatten(group, "observations", space)
    shape = space.get("shape")
    try:
        x = _rows(group, "observations")
    except DatasetError as error:
        hint = "; images compressed as JPEG are not read" if shape and len(shape) > 1 else ""
        raise DatasetError(f"{error}{hint}") from None
    if shape is not None and list(x.shape[1:]) != shape:
        compressed = len(shape) > 1 and x.dtype.kind == "u"
        what = "images compressed as JPEG are not read" if compressed else f"their space has {shape}"
        raise DatasetError(f"observations have the shape {list(x.shape[1:])}; {what}")
    return x


def _flatten(group: Group, key: str, space: Mapping[str, Any], depth: int = 0) -> np.ndarray:
    """Parts of observations end to end [step, feature]."""
    kind = space.get("type")
    if kind in ("Dict", "Tuple") or group.is_group(key):
        if depth > MAX_DEPTH:
            raise DatasetError(f"{key} is nested more than {MAX_DEPTH} deep")
        child = group.group(key)
        spaces = space.get("subspaces", {name: {} for name in child.names})
        named = spaces if isinstance(spaces, dict) else {f"_index_{i}": part for i, part in enumerate(spaces)}
        parts = {name: _flatten(child, name, part, depth + 1) for name, part in named.items()}
        if len({len(x) for x in parts.values()}) != 1:
            listed = ", ".join(f"{name} {len(x)}" for name, x in parts.items())
            raise DatasetError(f"the parts of {key} must have the same number of rows, got {listed or 'no parts'}")
        return np.concatenate(list(parts.values()), axis=1)
    x = _rows(group, key)
    if kind == "Discrete":
        return _one_hot(group, x - space.get("start", 0), space["n"], key)
    if kind == "MultiDiscrete":
        sizes = np.ravel(space["nvec"])
        if x.shape[1:] != np.shape(space["nvec"]):
            raise DatasetError(f"{key} must have the shape {np.shape(space['nvec'])} in a row, got {x.shape[1:]}")
        digits = x.reshape(len(x), -1) - np.ravel(space.get("start", 0))
        return np.concatenate([_one_hot(group, digit, n, key) for digit, n in zip(digits.T, sizes)], axis=1)
    return x.reshape(len(x), math.prod(x.shape[1:])).astype(np.float32)


def _one_hot(group: Group, x: np.ndarray, n: int, key: str) -> np.ndarray:
    if x.ndim != 1 or x.dtype.kind not in "iu" or ((x < 0) | (x >= n)).any():
        raise DatasetError(f"{key} must be numbers of {n} things")
    group.memory.take(4 * n * len(x))
    encoded = np.zeros((len(x), n), np.float32)
    encoded[np.arange(len(x)), x] = 1
    return encoded
