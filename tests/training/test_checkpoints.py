"""Checkpoints: which ones stay, and how one reads a folder in which some are damaged."""

import hashlib
import os
import shutil
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.training import checkpoints
from rlx.training.disk import DiskError


def state(x):
    return {"w": jnp.full(3, x), "key": jax.random.key(int(x))}


TEMPLATE = jax.eval_shape(lambda: state(0.0))


def save(folder, scores, *, keep, **options):
    """Checkpoints 1, 2, … with these returns, None for one between two evaluations."""
    manager = checkpoints.open_manager(folder, keep=keep, **options)
    for update, score in enumerate(scores, start=1):
        checkpoints.save(manager, update, state(float(update)), score and {"eval_return_mean": score})
    checkpoints.close(manager)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    save(folder, [1.0, 3.0, None], keep=3)
    return folder


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(str(path), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]


def test_checkpoints_between_evaluations_are_deleted_too(tmp_path):
    save(tmp_path, [None, 9.0, None, 1.0, None, None, 2.0, None, None], keep=2)
    assert checkpoints.updates(tmp_path) == [2, 8, 9]


def truncate(folder):
    for file in (folder / "3" / "default").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:10])


DAMAGES = {
    "an empty folder": lambda folder: (folder / "999").mkdir(),
    "a garbled _METADATA": lambda folder: (folder / "3" / "default" / "_METADATA").write_text("garbage"),
    "truncated files": truncate,
    "garbled metrics": lambda folder: ((folder / "3/metrics").mkdir(), (folder / "3/metrics/metrics").write_text("{")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_checkpoint_gives_way_to_an_older_one(three, tmp_path, damage):
    folder = shutil.copytree(three, tmp_path / "checkpoints")
    DAMAGES[damage](folder)
    before, number = digest(folder), checkpoints.updates(folder)[-1]
    with pytest.warns(UserWarning, match=f"checkpoint {number} .* is skipped"):
        restored, update = checkpoints.restore(folder, TEMPLATE)
    assert update == (3 if number == 999 else 2) and digest(folder) == before
    np.testing.assert_array_equal(restored["w"], [float(update)] * 3)

    # Whoever goes on from there saves again what could not be read.
    manager = checkpoints.open_manager(folder, keep=5, restored=update)
    checkpoints.save(manager, number, state(7.0))
    checkpoints.close(manager)
    assert checkpoints.restore(folder, TEMPLATE)[1] == number
    assert (folder / f"{number}.damaged").exists()


def test_where_none_can_be_read_nothing_is_touched(three, tmp_path):
    folder = shutil.copytree(three, tmp_path / "checkpoints")
    for number in checkpoints.updates(folder):
        (folder / str(number) / "default" / "_METADATA").write_text("garbage")
    before = digest(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one error says it all
        with pytest.raises(checkpoints.CheckpointError, match="no readable checkpoint in .*3: .*2: .*1: "):
            checkpoints.restore(folder, TEMPLATE)
    assert digest(folder) == before


def test_the_first_readable_one_of_several(three, tmp_path):
    folder = shutil.copytree(three, tmp_path / "checkpoints")
    truncate(folder)
    with pytest.warns(UserWarning, match="checkpoint 3 "):
        assert checkpoints.restore(folder, TEMPLATE, update=[3, 1, 2])[1] == 1
    with pytest.raises(checkpoints.CheckpointError):
        checkpoints.restore(folder, TEMPLATE, update=3)


def test_metrics_of_another_kind_make_no_checkpoint_the_best(three, tmp_path):
    folder = shutil.copytree(three, tmp_path / "checkpoints")
    (folder / "2" / "metrics" / "metrics").write_text('["3.0"]')
    manager = checkpoints.open_manager(folder, keep=1, restored=3)
    checkpoints.save(manager, 4, state(4.0))
    checkpoints.close(manager)
    assert checkpoints.updates(folder) == [1, 4]


def test_files_are_on_the_disk_before_their_checkpoint_gets_its_name(tmp_path, monkeypatch):
    """After a power failure, the name of a checkpoint whose files were still in memory would stand for empty files."""
    flushed, fsync = set(), os.fsync

    def noting(descriptor):
        flushed.add(os.fstat(descriptor).st_ino)
        assert not any(path.name.isdecimal() for path in tmp_path.iterdir())
        fsync(descriptor)

    monkeypatch.setattr(checkpoints.os, "fsync", noting)
    save(tmp_path, [1.0], keep=1)
    files = [path for path in (tmp_path / "1").rglob("*") if path.is_file()]
    for path in files:
        if path.stat().st_ino not in flushed:
            path.write_text("")  # Orbax writes a mark of success between the two; that it is there is enough
    restored, _ = checkpoints.restore(tmp_path, TEMPLATE)
    assert len(flushed) > 5 and float(restored["w"][0]) == 1.0


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    manager = checkpoints.open_manager(tmp_path, keep=1)

    def full(*arguments, **options):
        raise ValueError('RESOURCE_EXHAUSTED: writing "x" [errno: No space left on device]\nfrom a thread')

    monkeypatch.setattr(manager, "save", full)
    with pytest.raises(DiskError, match="^No space left on device: .* cannot be written; make room$"):
        checkpoints.save(manager, 1, state(1.0))
    checkpoints.close(manager)
