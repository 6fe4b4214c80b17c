"""Files of JSON and Parquet, read so that whatever is wrong with one is a ValueError of one line that names it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlx.envs.registry import nearest

TABLES = (".jsonl", ".parquet")
"""How names of files end that hold rows."""

_ROWS_AT_ONCE = 1024


def is_table(name: str | os.PathLike) -> bool:
    """Whether a name is one of a file that holds rows."""
    return os.fspath(name).endswith(TABLES)


def read_object(path: str | os.PathLike) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        ValueError: there is no such file, or it holds anything else.
    """
    check_file(path)
    try:
        content = json.loads(Path(path).read_bytes())
    # JSON's own errors and those of its encoding are ValueErrors; deep nesting is a RecursionError.
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must be a JSON object, got {content!r:.80}")
    return content


def read_text(path: str | os.PathLike) -> str:
    """The text that a file holds.

    Raises:
        ValueError: there is no such file, or it holds no text in UTF-8.
    """
    check_file(path)
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} must be a text in UTF-8: {error}") from error


def read_rows(path: str | os.PathLike, *, kind: str = "line") -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a file, and where each stands, for errors.

    Args:
        path: the file: Parquet where its name ends so, else one JSON object on each line.
        kind: what a line is called.

    Raises:
        ValueError: there is no such file, a line is no JSON object, or a file is no Parquet.
    """
    check_file(path)
    yield from _of_parquet(path) if os.fspath(path).endswith(".parquet") else _of_json(path, kind)


def _of_json(path: str | os.PathLike, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        # Bytes: a text file would also break lines at characters that may stand within JSON's strings.
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    where = f"{path}, {kind} {number}"
                    yield where, _row(line, where, kind)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _row(line: bytes, where: str, kind: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: each {kind} must be a JSON object: {error}") from error
    if not isinstance(row, dict):
        raise ValueError(f"{where}: each {kind} must be a JSON object, got {row!r:.80}")
    return row


def _of_parquet(path: str | os.PathLike) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow.parquet

    # A damaged file makes the library raise almost anything.
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", _filled(row)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{path} must be a file of Parquet, and whole: {reason:.300}") from error


def _filled(value: Any) -> Any:
    """A value without what is null in it: each row of Parquet has all fields, where JSON leaves them out."""
    if isinstance(value, dict):
        return {key: _filled(of) for key, of in value.items() if of is not None}
    return [_filled(of) for of in value] if isinstance(value, list) else value


def column(row: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """The object that a key is of, and its name there: `a.b` is `b` of the object `a`, unless the row has an `a.b`."""
    outer, dot, inner = key.partition(".")
    within = row.get(outer)
    return column(within, inner) if dot and key not in row and isinstance(within, dict) else (row, key)


def text_of(row: dict[str, Any], key: str, *, numbers: bool = False) -> str:
    """A text of a row; where numbers are allowed, a number as one.

    Raises:
        ValueError: there is none, or a value of another kind, or half a character, which JSON can write.
    """
    if key not in row:
        raise ValueError(f"no {key!r}; {nearest(key, row)}")
    value = row[key]
    if numbers and isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"{key!r} must be a text{' or a number' if numbers else ''}, got {value!r:.80}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{key!r} must be a text of whole characters, got {value!a:.80}: {error.reason}") from error
    return value


def check_file(path: str | os.PathLike) -> None:
    """Check that a path is a file, and no folder, pipe or device: reading from those might never end.

    Raises:
        ValueError: it is none.
    """
    # `Path.is_file` raises where a path cannot be looked at.
    if not os.path.isfile(path):
        found = (
            "it is a folder" if os.path.isdir(path) else "it is no file" if os.path.exists(path) else "there is none"
        )
        raise ValueError(f"{os.fspath(path)} must be a file, but {found}")
