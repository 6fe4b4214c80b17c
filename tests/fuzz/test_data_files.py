"""Damaged files of data either load or end in one line for the user."""

import signal

import pytest

from rlx.cli.errors import is_for_the_user, one_line
from rlx.data import read_dataset
from rlx.envs.language import pairs
from tests.fuzz import data_files

pytestmark = pytest.mark.slow

SECONDS = 60


def load(path):
    return pairs.read_jsonl(path) if path.suffix == ".jsonl" else read_dataset(path)


@pytest.mark.parametrize("make", [data_files.d4rl, data_files.minari, data_files.pairs])
def test_what_is_damaged_was_valid(make, tmp_path):
    load(make(tmp_path))


def test_damaged_files_load_or_are_named(tmp_path):
    failed, names = [], set()

    def too_long(*_):
        raise TimeoutError(f"it took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    try:
        for number, (name, make_damaged) in enumerate(data_files.cases()):
            names.add(name)
            folder = tmp_path / str(number)
            folder.mkdir()
            signal.alarm(SECONDS)
            path = make_damaged(folder)
            try:
                load(path)
            except Exception as error:
                if not is_for_the_user(error) or path.name not in one_line(error):
                    failed.append(f"{name}: {type(error).__name__}: {one_line(error)}")
            data_files.clean(folder)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert len(names) == number + 1 >= 150
    assert not failed, "\n".join(failed)
