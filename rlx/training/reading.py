"""Reading a run folder: whatever is wrong with a file of it becomes one line that names the file.

Files are read, never run: JSON, Parquet and pictures, and nothing that could hold code.
"""

from __future__ import annotations

import contextlib
import math
import numbers
import os
from typing import Any

from rlx.training.metrics import MetricsTable
from rlx.training.runs import MAX_BYTES, RunError, contents, naming, read_json

NUMBER = numbers.Real
"""In a shape: a finite number that a float can hold."""


def json_object(path: str | os.PathLike) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        RunError: there is no such file, or it holds anything else.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise RunError(f"{path} must hold a JSON object, got {type(value).__name__}")
    return value


def metrics(path: str | os.PathLike) -> MetricsTable:
    """The table of metrics that a Parquet file holds.

    Raises:
        RunError: there is no such file, or it holds anything else.
    """
    import pyarrow.parquet

    with naming(path, "Parquet") as path:
        if path.is_file():
            known = pyarrow.parquet.ParquetFile(path).metadata
            if 8 * known.num_rows * known.num_columns > MAX_BYTES:
                raise RunError(f"{path} claims {known.num_rows:,} rows, more than the metrics of a run have")
        table = MetricsTable.read(path)
        for name, choices in table.choices.items():
            if name in table and not _indexes(table[name], choices):
                raise RunError(f"{path}: column {name!r} must number its choices {', '.join(map(str, choices))}")
        return table


def raw(path: str | os.PathLike) -> bytes:
    """The bytes of a file.

    Raises:
        RunError: there is no such file.
    """
    with naming(path, "file") as path:
        return contents(path)


def check_shape(path: str | os.PathLike, value: Any, shape: Any, name: str = "") -> None:
    """Check that what a JSON file holds has the types that its readers count on.

    Args:
        path: of the file, for the message.
        value: what it holds.
        shape: a type, `NUMBER`, None for null, a tuple of shapes of which one fits, a list of the one shape of all
            elements, or a dict: name -> shape, where a name that ends in `?` may be missing and others may be there;
            the name `*` stands for all.
        name: where in the file.

    Raises:
        RunError: it has another; the message says where, and what would be right.
    """
    if isinstance(shape, dict) and isinstance(value, dict):
        fields = dict.fromkeys(value, shape["*"]) if "*" in shape else shape
        for field, inner in fields.items():
            key = field.removesuffix("?") if field not in value else field
            if key in value:
                check_shape(path, value[key], inner, f"{name}.{key}".lstrip("."))
            elif not field.endswith("?"):
                raise RunError(f"{path}: {f'{name}.{key}'.lstrip('.')} is missing")
    elif isinstance(shape, list) and isinstance(value, list):
        for index, element in enumerate(value):
            check_shape(path, element, shape[0], f"{name}[{index}]")
    elif isinstance(shape, tuple) and any(_is_of(value, kind) for kind in shape):
        check_shape(path, value, next(kind for kind in shape if _is_of(value, kind)), name)
    elif isinstance(shape, tuple) or not _is_of(value, shape):
        raise RunError(f"{path}: {name or 'it'} must be {_words(shape)}, got {value!r:.60}")


def _is_of(value: Any, shape: Any) -> bool:
    """Whether a value is of a shape's own kind, whatever is inside."""
    if shape is None:
        return value is None
    if shape is NUMBER:
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            return False
        with contextlib.suppress(OverflowError):
            return math.isfinite(value)
        return False
    return isinstance(value, shape if isinstance(shape, type) else type(shape))


def _words(shape: Any) -> str:
    if isinstance(shape, tuple):
        return " or ".join(map(_words, shape))
    names = {str: "a text", bool: "true or false", NUMBER: "a number", None: "null", dict: "an object", list: "a list"}
    return names[shape if shape is None or isinstance(shape, type) else type(shape)]


def _indexes(column: Any, choices: Any) -> bool:
    values = column.compressed()
    return bool(((values >= 0) & (values < len(choices)) & (values == values.round())).all())
