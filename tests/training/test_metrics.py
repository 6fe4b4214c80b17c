import subprocess
import sys

import numpy as np
import pytest

from rlx.training.metrics import MetricsTable, atomic_path, curves, hyperparameter_names, setting_label


def report(update, **metrics):
    return {"seed": np.arange(3), "update": update, "env_steps": 100 * update, **metrics}


@pytest.fixture
def table():
    table = MetricsTable()
    table.append(report(1, return_mean=None, loss=np.float32([0.1, np.nan, np.inf]), sps=5))
    table.append(report(2, return_mean=np.ma.masked_array([1.5, 7.0, 2.5], [False, True, False]), loss=0.2, sps=6))
    table.append(report(3, return_mean=np.array([3.0, 4.0, 5.0]), loss=0.3, sps=7, late=np.array([1, 2, 3])))
    return table


def assert_same(a, b):
    assert list(a.columns) == list(b.columns)
    for name in a.columns:
        assert a[name].dtype == b[name].dtype
        np.testing.assert_array_equal(np.ma.getmaskarray(a[name]), np.ma.getmaskarray(b[name]))
        assert a[name].filled(0).tobytes() == b[name].filled(0).tobytes()


def test_rows_scalars_and_nulls(table):
    assert len(table) == 9
    np.testing.assert_array_equal(table["seed"], np.tile(np.arange(3), 3))
    np.testing.assert_array_equal(table["env_steps"], np.repeat([100, 200, 300], 3))
    np.testing.assert_array_equal(
        np.ma.getmaskarray(table["return_mean"]), [True] * 3 + [False, True, False] + [False] * 3
    )
    assert table["late"].tolist() == [None] * 6 + [1, 2, 3]
    assert table["late"].dtype == np.int64
    assert table["loss"].dtype == np.float64


def test_a_file_keeps_every_bit_and_tells_null_from_nan(table, tmp_path):
    path = tmp_path / "metrics.parquet"
    table.write(path)
    again = MetricsTable.read(path)
    assert_same(table, again)
    assert np.isnan(again["loss"][1]) and not np.ma.getmaskarray(again["loss"])[1]
    assert again["loss"][0] == np.float64(np.float32(0.1))
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.parquet"]


def test_truncated_and_continued_equals_uninterrupted(table, tmp_path):
    table.write(tmp_path / "m.parquet")
    resumed = MetricsTable.read(tmp_path / "m.parquet")
    resumed.truncate(2)
    assert len(resumed) == 6
    resumed.append(report(3, return_mean=np.array([3.0, 4.0, 5.0]), loss=0.3, sps=7, late=np.array([1, 2, 3])))
    assert_same(table, resumed)
    resumed.truncate(0)
    assert len(resumed) == 0
    MetricsTable().truncate(5)


def test_an_empty_table_can_be_written(tmp_path):
    MetricsTable().write(tmp_path / "m.parquet")
    assert len(MetricsTable.read(tmp_path / "m.parquet")) == 0


def test_unreadable_files_and_wrong_rows_are_named(table, tmp_path):
    with pytest.raises(ValueError, match="no metrics file"):
        MetricsTable.read(tmp_path / "missing.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 half a file")
    with pytest.raises(ValueError, match="broken.parquet is not a readable Parquet file"):
        MetricsTable.read(tmp_path / "broken.parquet")
    with pytest.raises(ValueError, match="did you mean return_mean"):
        table["return_men"]
    with pytest.raises(ValueError, match="one length"):
        table.append({"seed": np.arange(3), "loss": np.zeros(2)})
    with pytest.raises(ValueError, match="'name'.*dtype"):
        table.append({"name": "ppo"})
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        table.append({"loss": np.zeros((2, 2))})


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with atomic_path(tmp_path / "new" / "file.txt") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "new" / "file.txt").read_text() == "whole"


def test_curves_arrange_runs_by_setting():
    table = MetricsTable()
    settings = {"seed": np.array([1, 0, 1, 0]), "clip": np.array([0.3, 0.3, 0.1, 0.1])}
    for update in (1, 2, 3):
        measured = None if update == 2 else np.array([1.0, 2.0, 3.0, 4.0]) * update
        table.append({**settings, "update": update, "env_steps": 10 * update, "y": measured, "t": float(update)})
    assert hyperparameter_names(table) == ["clip"]
    low, high = curves(table, "y")
    assert (low.hyperparameters, high.hyperparameters) == ({"clip": 0.1}, {"clip": 0.3})
    np.testing.assert_array_equal(low.seeds, [0, 1])
    np.testing.assert_array_equal(low.x, [10, 30])
    np.testing.assert_array_equal(low.values, [[4, 12], [3, 9]])
    np.testing.assert_array_equal(high.values, [[2, 6], [1, 3]])
    np.testing.assert_array_equal(curves(table, "y", x="t")[0].x, [1, 3])
    assert setting_label(low.hyperparameters) == "clip=0.1"
    table.append({**settings, "update": 3, "env_steps": 30, "y": 0.0, "t": 0.0})
    with pytest.raises(ValueError, match="twice"):
        curves(table, "y")


def test_a_partly_null_report_stays_masked(table):
    (curve,) = curves(table, "return_mean")
    np.testing.assert_array_equal(curve.x, [200, 300])
    assert curve.values.tolist() == [[1.5, 3.0], [None, 4.0], [2.5, 5.0]]


def test_import_is_cheap():
    code = (
        "import sys, rlx.training.metrics, rlx.training.progress, rlx.training.writers;"
        "print(sorted({'pyarrow', 'rich', 'matplotlib', 'tensorboardX', 'scipy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
