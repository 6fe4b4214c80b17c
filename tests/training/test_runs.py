"""Run folders that cannot be one, and names that are still free."""

import numpy as np
import pytest

from rlx.training import runs
from rlx.training.disk import DiskError, free_name
from rlx.training.metrics import MetricsTable, atomic_path
from rlx.training.stopping import Stopped
from rlx.training.writers import tensorboard


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("/dev/null", "/dev/null is a file: --run-dir must name a folder"),
        ("/dev/null/run/one", "/dev/null is a file, so /dev/null/run/one cannot be made"),
        ("file", "file is a file: --run-dir"),
        ("file/below", "file is a file, so"),
        ("x" * 300, "File name too long"),
        ("nul\0byte", "null byte"),
    ],
)
def test_places_that_cannot_be_a_run_folder(tmp_path, place, reason):
    (tmp_path / "file").write_text("")
    with pytest.raises(runs.RunError, match=reason):
        runs.check_folder(runs.RunFolder(tmp_path / place), {})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_parts_of_another_kind_and_runs_without_their_config_are_refused(tmp_path):
    folder = runs.RunFolder(tmp_path)
    folder.checkpoints.write_text("")
    with pytest.raises(runs.RunError, match="checkpoints is a file, but must be a folder"):
        runs.check_folder(folder, {})
    folder.checkpoints.unlink()
    folder.config.mkdir()
    with pytest.raises(runs.RunError, match="config.json is a folder, but must be a file"):
        runs.check_folder(folder, {})
    folder.config.rmdir()
    folder.metrics.write_text("rows")
    for resume in (False, True):
        with pytest.raises(runs.RunError, match="has no config.json, but the metrics.parquet of a run: --restart"):
            runs.check_folder(folder, {}, resume=resume)


@pytest.mark.parametrize("text", ["[1]", '{"config": 3}', "{", "[" * 100_000])
def test_a_damaged_config_is_one_line(tmp_path, text):
    folder = runs.RunFolder(tmp_path)
    folder.config.write_text(text)
    with pytest.raises(runs.RunError, match="config.json is not "):
        runs.check_folder(folder, {}, resume=True)


def test_a_damaged_summary_counts_as_none(tmp_path):
    folder = runs.RunFolder(tmp_path)
    assert runs.read_summary(folder) is None
    for text in ("{", "[]", "{}", '"text"'):
        folder.summary.write_text(text)
        assert runs.read_summary(folder) is None


def test_free_names_are_beside_what_they_replace(tmp_path):
    folder, file = tmp_path / "run-0.5", tmp_path / "metrics.parquet"
    folder.mkdir()
    file.touch()
    assert runs.move_aside(runs.RunFolder(folder)).name == "run-0.5.old"
    folder.mkdir()
    assert free_name(folder, "old").name == "run-0.5.old2"
    assert free_name(file, "old").name == "metrics.old.parquet"


def test_rows_to_go_on_from(tmp_path):
    folder = runs.RunFolder(tmp_path)
    with pytest.raises(ValueError, match="no metrics file"):
        runs.rows_until(folder, 2)
    MetricsTable({"seed": np.arange(2)}).write(folder.metrics)
    with pytest.raises(ValueError, match="no column update"):
        runs.rows_until(folder, 2)
    MetricsTable({"seed": np.zeros(4), "update": np.arange(4), "wall_time": np.zeros(4)}).write(folder.metrics)
    assert len(runs.rows_until(folder, 1)) == 2


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    folder = runs.RunFolder(tmp_path)
    names = [".metrics.4711.parquet", ".config.12.json"]
    others = [".metrics.parquet", ".metrics.x.parquet", ".mine.12.json", "metrics.parquet"]
    for name in names + others:
        (tmp_path / name).touch()
    folder.remove_unfinished()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def full(*arguments, **options):
    raise OSError(28, "No space left on device")


def test_a_disk_that_became_read_only_is_one_line(tmp_path):
    message = "^Read-only file system: .*x.json cannot be written; make the file system writable$"
    with pytest.raises(DiskError, match=message), atomic_path(tmp_path / "x.json"):
        raise OSError(30, "Read-only file system")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line_and_the_old_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    runs.write_json(path, 1)
    message = "^No space left on device: .*file.json cannot be written; make room$"
    with pytest.raises(DiskError, match=message), atomic_path(path) as temporary:
        temporary.write_text("half")
        full()
    assert [other.name for other in tmp_path.iterdir()] == ["file.json"] and runs.read_json(path) == 1
    with pytest.raises(Stopped), atomic_path(path):
        raise Stopped(2)

    writer = tensorboard(tmp_path / "tensorboard")
    assert not (tmp_path / "tensorboard").exists()
    writer.write(1, {"a": 1.0})
    monkeypatch.setattr("tensorboardX.RecordWriter.flush", full)
    with pytest.raises(DiskError, match="^No space left on device: .*tensorboard cannot be written"):
        writer.write(2, {"a": 1.0})
    writer.close()
