"""Damaged files of data, made from small valid ones: the same ones every time.

for name, make_damaged in cases():
    path = make_damaged(folder)  # an HDF5 file, a folder of Minari's or a file of pairs (.jsonl)
"""

import json
import random
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.fuzz.damage import CUTS, REPLACED, Make, cut, replaced

ROWS = 12
DEEP = 100_000
FLIPS = 50


def cases() -> Iterable[tuple[str, Make]]:
    """Names of damaged files, and functions that make each in an empty folder and return its path."""
    valid = {
        d4rl: ("log.hdf5",),
        minari: ("set/data/main_data.hdf5", "set/data/metadata.json"),
        pairs: ("pairs.jsonl",),
    }
    for make, files in valid.items():
        for file in files:
            # A text is short: few places of it make a difference.
            for seed in range(FLIPS if file.endswith("hdf5") else 10):
                yield f"{file}: bytes flipped, seed {seed}", partial(flipped, make, file, seed)
            for share in CUTS:
                yield f"{file}: cut to {share:.0%}", partial(cut, make, file, share)
            for what in REPLACED:
                yield f"{file}: {what}", partial(replaced, make, file, what)
    for name, change in _hdf5_changes():
        yield f"d4rl: {name}", partial(d4rl_with, change)
        yield f"minari: {name}", partial(minari_with, change)
    for name, metadata in _metadata():
        yield f"minari: metadata with {name}", partial(minari_metadata, metadata)
    for name, line in _lines():
        yield f"pairs: {name}", partial(pairs_line, line)


def load(path: Path) -> Any:
    """A dataset or a file of pairs, as it is read."""
    from rlx.data import read_dataset
    from rlx.envs.language.pairs import read_file

    return read_file(path) if path.suffix == ".jsonl" else read_dataset(path)


def d4rl(folder: Path) -> Path:
    """A valid file of D4RL's."""
    path = folder / "log.hdf5"
    row = np.arange(ROWS, dtype=np.float32)
    arrays = {"observations": np.stack([row, -row], 1), "actions": row[:, None] / ROWS, "rewards": row}
    with h5py.File(path, "w") as file:
        for name, x in (arrays | {"terminals": row == 3, "timeouts": row == 8}).items():
            file.create_dataset(name, data=x, chunks=x.shape, compression="gzip")
        file.attrs.update({"env": "rlx:pendulum", "ref_min_score": -1.0, "ref_max_score": 2.0, "low": [0.0, 1.0]})
    return path


def minari(folder: Path) -> Path:
    """A valid folder of Minari's."""
    path = folder / "set"
    (path / "data").mkdir(parents=True)
    row = np.arange(ROWS + 1, dtype=np.float64)
    with h5py.File(path / "data" / "main_data.hdf5", "w") as file:
        for number in range(2):
            group = file.create_group(f"episode_{number}")
            group["observations/goal"] = np.arange(ROWS + 1) % 3
            group["observations/position"] = np.stack([row, row**2], 1)
            group["actions"], group["rewards"] = row[:-1, None], row[:-1]
            group["terminations"] = group["truncations"] = row[1:] == ROWS
    (path / "data" / "metadata.json").write_text(json.dumps(_valid_metadata()))
    return path


def pairs(folder: Path) -> Path:
    """A valid file of preference pairs."""
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(_pair(i)) + "\n" for i in range(4)))
    return path


def flipped(make: Make, file: str, seed: int, folder: Path) -> Path:
    """One to eight bytes are others."""
    path, rng = make(folder), random.Random(seed)
    content = bytearray((folder / file).read_bytes())
    for _ in range(rng.choice([1, 2, 8])):
        content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    (folder / file).write_bytes(content)
    return path


def d4rl_with(change: Callable[[h5py.File, str], None], folder: Path) -> Path:
    """An array of a file of D4RL's is changed."""
    path = d4rl(folder)
    with h5py.File(path, "a") as file:
        change(file, "rewards")
    return path


def minari_with(change: Callable[[h5py.File, str], None], folder: Path) -> Path:
    """An array of a folder of Minari's is changed."""
    path = minari(folder)
    with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
        change(file["episode_1"], "rewards")
    return path


def minari_metadata(text: str, folder: Path) -> Path:
    """The metadata are others."""
    path = minari(folder)
    (path / "data" / "metadata.json").write_text(text)
    return path


def pairs_line(line: bytes, folder: Path) -> Path:
    """A line is another."""
    path = pairs(folder)
    path.write_bytes(path.read_bytes() + line + b"\n")
    return path


def _valid_metadata() -> dict[str, Any]:
    parts = {"goal": {"type": "Discrete", "n": 3, "start": 0}, "position": {"type": "Box", "shape": [2]}}
    return {
        "total_episodes": 2,
        "data_format": "hdf5",
        "dataset_id": "a/b-v0",
        "ref_min_score": 0,
        "ref_max_score": 1,
        "observation_space": json.dumps({"type": "Dict", "subspaces": parts}),
        "action_space": json.dumps({"type": "Box", "shape": [1], "low": [0.0], "high": [1.0]}),
    }


def _pair(number: int) -> dict[str, Any]:
    return {"prompt": f"question {number}", "chosen": "yes", "rejected": "no"}


def _hdf5_changes() -> Iterator[tuple[str, Callable[[h5py.Group, str], None]]]:
    """Names of changes of a member of a group, and functions that make them."""
    links = {
        "a link to nothing": h5py.SoftLink("/nothing"),
        "a link to itself": h5py.SoftLink("rewards"),
        "a link to another array": h5py.SoftLink("actions"),
        "a link to another file": h5py.ExternalLink("other.hdf5", "/x"),
        "a link to a device": h5py.ExternalLink("/dev/zero", "/x"),
        "a type": np.dtype("f4"),
        "texts": np.array([b"one"] * ROWS),
        "objects": np.zeros(ROWS, [("a", "f4"), ("b", "i4")]),
        "complex numbers": np.zeros(ROWS, complex),
        "long doubles": np.zeros(ROWS, np.longdouble),
        "large whole numbers": np.full(ROWS, 2**60),
        "NaN": np.full(ROWS, np.nan),
        "infinity": np.full(ROWS, np.inf),
        "numbers beyond single precision": np.full(ROWS, 1e300),
        "half of its rows": np.zeros(ROWS // 2),
        "no rows": np.zeros(0),
        "columns": np.zeros((ROWS, 3)),
        "a scalar": 1.0,
        "no space": h5py.Empty("f4"),
    }
    for name, value in links.items():
        yield f"{name} in place of rewards", partial(_put, value=value)
        yield f"{name} in place of observations", partial(_put, value=value, key="observations")
    yield "nothing in place of rewards", lambda group, key: group.__delitem__(key)
    yield "a group in place of rewards", lambda group, key: (group.__delitem__(key), group.create_group(key))
    yield "a group that holds itself", lambda group, key: _loop(group, "observations")
    for name, options in {
        "10^12 rows": {"shape": (10**12,), "chunks": (1000,)},
        "10^12 packed rows": {"shape": (10**12,), "chunks": (1000,), "compression": "gzip"},
        "a chunk of 10^9 rows": {"shape": (ROWS,), "chunks": (10**9,), "maxshape": (None,), "dtype": "i1"},
        "rows that were never written": {"shape": (ROWS,)},
        "rows in another file": {"shape": (ROWS,), "external": [("other.raw", 0, 8 * ROWS)]},
    }.items():
        yield name, partial(_create, options=options)
    yield "virtual rows of another file", _virtual
    yield "a chunk that unpacks to more than it is", _bomb


def _put(group: h5py.Group, name: str, *, value: Any, key: str | None = None) -> None:
    del group[key or name]
    group[key or name] = value


def _loop(group: h5py.Group, name: str) -> None:
    del group[name]
    inner = group.create_group(name)
    inner["goal"] = inner


def _create(group: h5py.Group, name: str, *, options: dict[str, Any]) -> None:
    del group[name]
    group.create_dataset(name, **{"dtype": "f8"} | options)


def _virtual(group: h5py.Group, name: str) -> None:
    del group[name]
    layout = h5py.VirtualLayout((10**12,), "f4")
    layout[:ROWS] = h5py.VirtualSource("other.hdf5", "x", (ROWS,))
    group.create_virtual_dataset(name, layout)


def _bomb(group: h5py.Group, name: str) -> None:
    import zlib

    del group[name]
    x = group.create_dataset(name, (ROWS,), "f4", chunks=(ROWS,), compression="gzip")
    x.id.write_direct_chunk((0,), zlib.compress(bytes(10**7), 1))


def _metadata() -> Iterator[tuple[str, str]]:
    """Metadata of other kinds, as texts in JSON."""
    valid = _valid_metadata()
    for name, text in {
        "nothing": "",
        "a number": "1",
        "a list": "[]",
        "a text": '"a"',
        "null": "null",
        "NaN": "NaN",
        "deep lists": "[" * DEEP,
        "deep objects": '{"a":' * DEEP,
        "a number of many digits": '{"total_episodes": ' + "1" * 5000 + "}",
        "half a character": json.dumps(valid | {"dataset_id": "\ud800"}),
        "two values": "{} {}",
    }.items():
        yield name, text
    for name in valid:
        for value in (None, True, -1, 1e999, "x", [], {}, [[1]], "\u0000"):
            yield f"{value!r} as {name}", json.dumps(valid | {name: value})
    part = lambda space: {"type": "Dict", "subspaces": {"goal": space, "position": {}}}
    spaces = (
        "[" * DEEP,
        json.dumps(part({"type": "Discrete"})),
        json.dumps(part({"type": "Discrete", "n": 10**12})),
        json.dumps(part({"type": "Discrete", "n": -1})),
        json.dumps(part({"type": "Discrete", "n": "3"})),
        json.dumps(part({"type": "Discrete", "n": 2})),
        json.dumps(part({"type": "MultiDiscrete", "nvec": [[[3]]]})),
        json.dumps(part({"type": "MultiDiscrete", "nvec": {}})),
        json.dumps(part({"type": []})),
        json.dumps(part([])),
        json.dumps(part(None)),
        json.dumps(part({"type": "Dict", "subspaces": 3})),
        json.dumps({"type": "Dict", "subspaces": []}),
        json.dumps({"type": "Tuple", "subspaces": [{}]}),
        json.dumps({"type": "Box", "shape": "2"}),
        json.dumps({"type": "Box", "shape": [1e99]}),
    )
    for number, space in enumerate(spaces):
        yield f"the observation_space {number}, {space[:60]}", json.dumps(valid | {"observation_space": space})


def _lines() -> Iterator[tuple[str, bytes]]:
    """Lines that are no pairs."""
    for value in (None, 1, [], "a", {}, {"prompt": "a"}):
        yield f"the line {value!r}", json.dumps(value).encode()
    for key in ("prompt", "chosen", "rejected"):
        for value in (None, 1, {}, [], [[]], [1], [{"role": 1}], "\ud800"):
            yield f"{value!r} as {key}", json.dumps(_pair(0) | {key: value}).encode()
    yield "deep lists", b"[" * DEEP
    yield "deep objects", b'{"prompt":' * DEEP
    yield "no UTF-8", b'{"prompt": "\xff"}'
    yield "a number of many digits", b'{"prompt": ' + b"1" * 5000 + b"}"
