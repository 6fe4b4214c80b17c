"""The table of metrics of a run folder: one row per run and report, in memory and as a Parquet file.

Column order carries meaning. `seed` comes first, then the swept hyperparameters, then `update`, `env_steps`
(`gradient_steps` where no environment is acted in, `responses` of a language model) and the metrics; so the
columns between `seed` and `update` name the hyperparameters that tell one setting from another.

A null (a masked element) means "not measured": no episode has finished yet, or this report made no
evaluation. A NaN means "measured, and not a number": the run diverged. The file keeps the two apart.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from rlx.training.disk import writing

Column = np.ma.MaskedArray

TIME_COLUMNS = ("env_steps", "gradient_steps", "responses", "pairs")
"""What the steps of a run may be called."""


class MetricsTable:
    """Columns of numbers that grow by one block of rows, one row per run, at every report.

    Args:
        columns: initial columns, all of one length; masked elements are nulls.
        choices: for a column whose values number a list of choices, such as methods, the choices.
    """

    def __init__(
        self, columns: Mapping[str, np.ndarray] | None = None, *, choices: Mapping[str, Sequence[str]] | None = None
    ):
        self.choices = {name: tuple(names) for name, names in (choices or {}).items()}
        self._blocks: list[dict[str, Column]] = []
        if columns:
            self.append(columns)

    def append(self, rows: Mapping[str, Any]) -> None:
        """Add one row per run.

        A column that earlier rows lack is null there; a column that these rows lack is null here.

        Args:
            rows: for each column an array `[runs]`, or a scalar that all runs share. `None` and the masked
                elements of a `numpy.ma` array become nulls.

        Raises:
            ValueError: if the arrays differ in length, or hold something other than numbers.
        """
        rows = {name: _as_column(name, value) for name, value in rows.items()}
        lengths = {name: len(column) for name, column in rows.items() if column.ndim}
        if len(set(lengths.values())) > 1:
            raise ValueError(
                f"rows must hold scalars and arrays of one length, one element per run; got lengths {lengths}"
            )
        size = next(iter(lengths.values()), 1)
        self._blocks.append({name: _broadcast(column, size) for name, column in rows.items()})

    @property
    def columns(self) -> dict[str, Column]:
        """Every column in full, as a masked array in which null elements are masked. Not to be written to."""
        if len(self._blocks) > 1:
            self._blocks = [_concatenate(self._blocks)]
        return dict(self._blocks[0]) if self._blocks else {}

    def __getitem__(self, name: str) -> Column:
        columns = self.columns
        if name not in columns:
            raise ValueError(f"no metric is called {name!r}; {_suggest(name, list(columns))}")
        return columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def truncate(self, update: int) -> None:
        """Drop every row that was reported after `update` updates, so that a resumed run can write them anew.

        Raises:
            ValueError: if rows exist but have no column `update`.
        """
        if len(self):
            keep = np.asarray(self["update"]) <= update
            self._blocks = [{name: column[keep] for name, column in self.columns.items()}]

    def write(self, path: str | os.PathLike) -> None:
        """Write a Parquet file. A reader, or a crash, finds the old file or the new one, whole."""
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.table(
            {
                name: pyarrow.array(column.filled(0), mask=np.ma.getmaskarray(column), from_pandas=False)
                for name, column in self.columns.items()
            }
        ).replace_schema_metadata({"choices": json.dumps(self.choices)})
        with atomic_path(path) as temporary:
            pyarrow.parquet.write_table(table, temporary)

    @classmethod
    def read(cls, path: str | os.PathLike) -> MetricsTable:
        """Read what `write` wrote; every value and null comes back exactly.

        Raises:
            ValueError: if the file is missing or is not a readable Parquet file of numbers.
        """
        import pyarrow
        import pyarrow.parquet

        path = Path(path)
        if not path.is_file():
            raise ValueError(f"no metrics file at {path}; a run writes metrics.parquet at its first report")
        try:
            table = pyarrow.parquet.ParquetFile(path).read()
            choices = json.loads((table.schema.metadata or {}).get(b"choices", b"{}"))
            columns = {name: _from_arrow(path, name, column) for name, column in zip(table.column_names, table.columns)}
            return cls(columns, choices=choices)
        except MemoryError:
            raise
        except Exception as error:  # a damaged file makes its reader raise whatever it meets
            raise ValueError(f"{path} is not a readable Parquet file ({' '.join(str(error).split())})") from error


class Curve(NamedTuple):
    """One metric of every run of one setting, against time.

    Attributes:
        hyperparameters: the values of the swept hyperparameters; empty where nothing was swept.
        seeds: the seed of each run, ascending.
        x: time at each report, in the unit of the column it was read from.
        values: the metric, one row per run and one column per report; masked where it was not measured and
            NaN where it was not a number.
    """

    hyperparameters: dict[str, float]
    seeds: Int[np.ndarray, " runs"]
    x: Float[np.ndarray, " reports"]
    values: Column


def hyperparameter_names(table: MetricsTable | Mapping[str, Any]) -> list[str]:
    """The swept hyperparameters of a table or of one block of rows: columns between `seed` and `update`."""
    names = list(table.columns if isinstance(table, MetricsTable) else table)
    return names[names.index("seed") + 1 : names.index("update")] if {"seed", "update"} <= set(names) else []


def time_column(table: MetricsTable) -> str:
    """The column that tells time best: the first of `TIME_COLUMNS` that there is."""
    return next((name for name in TIME_COLUMNS if name in table), TIME_COLUMNS[0])


def curves(table: MetricsTable, y: str, *, x: str | None = None) -> list[Curve]:
    """Arrange one metric as a matrix `[runs, reports]` for every setting of a sweep.

    Args:
        table: the metrics of a run folder.
        y: the metric. Reports in which no run of the setting measured it are left out.
        x: the column that tells time, such as `env_steps`, `update` or `wall_time`; None takes `time_column`.

    Returns:
        One curve per setting, ordered by the values of the hyperparameters; a single curve where nothing was
        swept.

    Raises:
        ValueError: if a column is missing, or a run reported the same update twice.
    """
    names = hyperparameter_names(table)
    x = time_column(table) if x is None else x
    seed, update, time, values = (table[name] for name in ("seed", "update", x, y))
    rows = np.stack([np.asarray(table[name], np.float64) for name in names] + [np.zeros(len(table))], axis=1)
    settings, setting_of_row = np.unique(rows, axis=0, return_inverse=True)
    result = []
    for index, setting in enumerate(settings):
        member = setting_of_row.reshape(-1) == index
        seeds, run = np.unique(np.asarray(seed)[member], return_inverse=True)
        updates, report = np.unique(np.asarray(update)[member], return_inverse=True)
        if len(np.unique(run * len(updates) + report)) < len(run):
            raise ValueError("the metrics hold a seed's report of one update twice; a resumed run truncates them first")
        matrix = np.ma.masked_all((2, len(seeds), len(updates)), np.float64)
        matrix[0, run, report], matrix[1, run, report] = time[member], values[member]
        measured = ~np.ma.getmaskarray(matrix[1]).all(axis=0)
        result.append(
            Curve(
                hyperparameters=dict(zip(names, setting.tolist())),
                seeds=seeds,
                x=np.ma.mean(matrix[0], axis=0).filled(np.nan)[measured],
                values=matrix[1][:, measured],
            )
        )
    return result


def setting_label(hyperparameters: Mapping[str, float], choices: Mapping[str, Sequence[str]] | None = None) -> str:
    """`learning_rate=0.0003, clip=0.2`: one setting of a sweep in words, empty where nothing was swept.

    Args:
        hyperparameters: value by name.
        choices: for a hyperparameter whose values number a list of choices, the choices; they stand for themselves.
    """
    choices = choices or {}
    return ", ".join(
        choices[name][int(value)] if name in choices else f"{name}={value:g}" for name, value in hyperparameters.items()
    )


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place in one step when the block succeeds.

    Raises:
        DiskError: the disk is full, read-only, or refuses otherwise; `path` is as it was.
    """
    path = Path(path)
    # The suffix stays last because some writers choose their format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def remove_unfinished(path: str | os.PathLike) -> None:
    """Remove what processes that were killed left of writing `path` by `atomic_path`; none may be writing it now."""
    path = Path(path)
    left = re.compile(rf"\.{re.escape(path.stem)}\.\d+{re.escape(path.suffix)}")
    for other in path.parent.glob(f".{path.stem}.*"):
        if left.fullmatch(other.name):
            other.unlink(missing_ok=True)


def _as_column(name: str, value: Any) -> Column:
    if value is None:
        return np.ma.masked_all((), np.float64)
    column = np.ma.asarray(value)
    if column.ndim > 1 or column.dtype.kind not in "biuf":
        raise ValueError(
            f"column {name!r} must be a number or an array [runs] of numbers; "
            f"got shape {column.shape} and dtype {column.dtype}"
        )
    widest = {"b": np.bool_, "i": np.int64, "u": np.int64, "f": np.float64}[column.dtype.kind]
    return column.astype(widest)


def _broadcast(column: Column, size: int) -> Column:
    data = np.broadcast_to(column.filled(0), (size,))
    return np.ma.MaskedArray(data, np.broadcast_to(np.ma.getmaskarray(column), (size,)))


def _concatenate(blocks: list[dict[str, Column]]) -> dict[str, Column]:
    names = dict.fromkeys(name for block in blocks for name in block)
    return {name: _concatenate_column([_column_or_nulls(block, name) for block in blocks]) for name in names}


def _concatenate_column(parts: list[Column]) -> Column:
    # A part that is all null has no say in the dtype: an integer column that starts late stays one.
    kinds = [part.dtype for part in parts if not np.ma.getmaskarray(part).all()] or [np.float64]
    return np.ma.concatenate([part.astype(np.result_type(*kinds)) for part in parts])


def _column_or_nulls(block: dict[str, Column], name: str) -> Column:
    return block[name] if name in block else np.ma.masked_all(len(next(iter(block.values()), ())), np.float64)


def _from_arrow(path: Path, name: str, column: Any) -> Column:
    import pyarrow

    if not (pyarrow.types.is_primitive(column.type) and not pyarrow.types.is_temporal(column.type)):
        raise ValueError(f"column {name!r} of {path} holds {column.type}; a metrics file holds numbers only")
    mask = column.is_null().to_numpy()
    zero = pyarrow.scalar(0).cast(column.type)
    return np.ma.MaskedArray(column.fill_null(zero).to_numpy(), mask)


def _suggest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    return f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known) or 'none yet'}"
