"""Damaged copies of a run folder: whatever may have happened to its files, and what nobody would write on purpose."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Damage = Callable[[Path], None]

JSON_FILES = ("config.json", "summary.json", "divergence.json")
VALUES = (None, True, -1, 0, 1.5, 10**30, 10**400, "", "x" * 300, "\ud800", [], [[]], {}, {"a": [1]})
"""What may stand in place of any value of a JSON file."""


def cases(run_folder: Path) -> Iterator[tuple[str, Damage]]:
    """Name and damage of each case.

    Args:
        run_folder: the whole run, to see what there is to be damaged.

    Yields:
        A name, and a function that damages a copy of the folder.
    """
    rng = np.random.default_rng(0)
    for name in JSON_FILES:
        if (run_folder / name).exists():
            yield from _json_cases(name, json.loads((run_folder / name).read_text()), rng)
    files = sorted(str(path.relative_to(run_folder)) for path in run_folder.rglob("*") if path.is_file())
    shown = [name for name in files if not name.startswith("checkpoints") and not name.endswith((".png", ".html"))]
    for name in shown:
        size = (run_folder / name).stat().st_size
        yield from _file_cases(name)
        for flip in range(6):
            yield f"{name}: bytes flipped, {flip}", _flipped(name, rng.integers(0, size, 1 + 4 * flip))
        for part in (0.1, 0.5, 0.9):
            yield f"{name}: cut at {part:.0%}", _cut(name, int(part * size))
    for flip in range(60):
        size = (run_folder / "metrics.parquet").stat().st_size
        yield f"metrics.parquet: one byte flipped, {flip}", _flipped("metrics.parquet", rng.integers(0, size, 1))
    yield from _table_cases()
    for name in ("checkpoints", "tensorboard"):
        yield f"{name}: gone", lambda copy, name=name: shutil.rmtree(copy / name)
        yield f"{name}: a file", lambda copy, name=name: (shutil.rmtree(copy / name), (copy / name).write_text("x"))
        yield f"{name}: empty", lambda copy, name=name: (shutil.rmtree(copy / name), (copy / name).mkdir())


def checkpoint_cases(run_folder: Path) -> Iterator[tuple[str, Damage]]:
    """Name and damage of each case of a damaged newest checkpoint, beside which an older one is whole."""
    steps = sorted(int(path.name) for path in (run_folder / "checkpoints").iterdir())
    newest = run_folder / "checkpoints" / str(steps[-1])
    data = max(newest.glob("default/d/*"), key=lambda path: path.stat().st_size).relative_to(run_folder)
    yield "a data file cut", _cut(str(data), 40)
    yield "a data file empty", _cut(str(data), 0)
    prefix = f"checkpoints/{newest.name}"
    for name in ("default/_METADATA", "default/manifest.ocdbt", "metrics/metrics", "_CHECKPOINT_METADATA"):
        yield f"{name} is a pickle", _written(f"{prefix}/{name}", pickle.dumps({"a": 1}))
        yield f"{name} is nested", _written(f"{prefix}/{name}", b"[" * 100_000)
    yield "an empty checkpoint", lambda copy: (copy / "checkpoints" / "999").mkdir()
    yield "a checkpoint that is a file", _written("checkpoints/999", b"x")
    yield "its arrays gone", lambda copy: shutil.rmtree(copy / prefix / "default")


def _json_cases(name: str, content: Any, rng: np.random.Generator) -> Iterator[tuple[str, Damage]]:
    for path in _paths(content):
        yield f"{name}: {path} gone", _replaced(name, path, None, remove=True)
        for index in rng.choice(len(VALUES), 3, replace=False):
            yield f"{name}: {path} is {VALUES[index]!r:.20}", _replaced(name, path, VALUES[index])
    for index, value in enumerate(VALUES):
        yield f"{name} is {value!r:.20}", _written(name, json.dumps(value).encode())
        yield f"{name}: more under config, {index}", _replaced(name, ("config", "more"), value)
    yield f"{name}: not a number", _written(name, b'{"config": NaN, "runs": [{"seed": Infinity}]}')


def _file_cases(name: str) -> Iterator[tuple[str, Damage]]:
    yield f"{name}: gone", lambda copy: (copy / name).unlink()
    yield f"{name}: a folder", lambda copy: ((copy / name).unlink(), (copy / name).mkdir())
    yield f"{name}: a pipe", lambda copy: ((copy / name).unlink(), os.mkfifo(copy / name))
    yield f"{name}: a link to nothing", lambda copy: ((copy / name).unlink(), (copy / name).symlink_to("nothing"))
    yield f"{name}: a loop of links", lambda copy: ((copy / name).unlink(), (copy / name).symlink_to(name))
    yield f"{name}: a link to all zeros", lambda copy: ((copy / name).unlink(), (copy / name).symlink_to("/dev/zero"))
    yield f"{name}: empty", _written(name, b"")
    yield f"{name}: a pickle", _written(name, pickle.dumps({"a": 1}))
    yield f"{name}: nested deeply", _written(name, b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
    yield f"{name}: not UTF-8", _written(name, b'{"a": "\xff\xfe"}')


def _table_cases() -> Iterator[tuple[str, Damage]]:
    """Parquet files that are whole, and hold what a run would not write."""
    import pyarrow as pa

    def written(change: Callable[[pa.Table], pa.Table]) -> Damage:
        def damage(copy: Path) -> None:
            import pyarrow.parquet as pq

            pq.write_table(change(pq.read_table(copy / "metrics.parquet")), copy / "metrics.parquet")

        return damage

    def put(name: str, make: Callable[[int], Any]) -> Damage:
        def change(table: pa.Table) -> pa.Table:
            column = pa.array(make(len(table)))
            found = table.schema.get_field_index(name)
            return table.append_column(name, column) if found < 0 else table.set_column(found, name, column)

        return written(change)

    yield "metrics: no rows", written(lambda table: table.slice(0, 0))
    yield "metrics: one row", written(lambda table: table.slice(0, 1))
    yield "metrics: no columns", written(lambda table: table.select([]))
    yield "metrics: rows twice", written(lambda table: pa.concat_tables([table, table]))
    yield "metrics: columns the other way round", written(lambda table: table.select(table.column_names[::-1]))
    for name in ("seed", "update", "env_steps", "eval_return_mean", "return_mean"):
        yield f"metrics: no {name}", written(lambda table, name=name: table.drop_columns([name]))
        yield f"metrics: {name} in words", put(name, lambda size: ["a"] * size)
        yield f"metrics: {name} in lists", put(name, lambda size: [[1.0]] * size)
        yield f"metrics: {name} null", put(name, lambda size: pa.nulls(size))
        yield f"metrics: {name} not a number", put(name, lambda size: np.full(size, np.nan))
        yield f"metrics: {name} infinite", put(name, lambda size: np.full(size, np.inf))
        yield f"metrics: {name} enormous", put(name, lambda size: np.full(size, 1e308))
        yield f"metrics: {name} negative", put(name, lambda size: np.full(size, -5))
        yield f"metrics: {name} true", put(name, lambda size: np.full(size, True))
    for index, choices in enumerate(
        ("{half", "[]", '{"seed": 3}', '{"seed": []}', '{"seed": ["only"]}', "[" * 100_000)
    ):
        yield (
            f"metrics: choices, {index}",
            written(lambda table, choices=choices: table.replace_schema_metadata({"choices": choices})),
        )


def _paths(value: Any, path: tuple = ()) -> Iterator[tuple]:
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from _paths(part, (*path, key))


def _replaced(name: str, path: tuple, value: Any, *, remove: bool = False) -> Damage:
    def damage(copy: Path) -> None:
        whole = json.loads((copy / name).read_text())
        place = whole
        for key in path[:-1]:
            place = place[key] if isinstance(place, list) or key in place else place.setdefault(key, {})
        if remove:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        (copy / name).write_text(json.dumps(whole))

    return damage


def _written(name: str, content: bytes) -> Damage:
    return lambda copy: (copy / name).write_bytes(content)


def _cut(name: str, size: int) -> Damage:
    return lambda copy: os.truncate(copy / name, size)


def _flipped(name: str, places: np.ndarray) -> Damage:
    def damage(copy: Path) -> None:
        content = bytearray((copy / name).read_bytes())
        for place in places:
            content[place] ^= 1 << int(place) % 8
        (copy / name).write_bytes(bytes(content))

    return damage
