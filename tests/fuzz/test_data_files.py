"""Damaged files of data either load or end in one line for the user."""

import pytest

from tests.fuzz import data_files
from tests.fuzz.damage import answers

pytestmark = pytest.mark.slow

SECONDS = 60


@pytest.mark.parametrize("make", [data_files.d4rl, data_files.minari, data_files.pairs])
def test_what_is_damaged_was_valid(make, tmp_path):
    assert data_files.load(make(tmp_path)) is not None


def test_damaged_files_load_or_are_named(tmp_path):
    is_named = lambda path, line: path.name in line
    found = list(answers(data_files.cases(), data_files.load, tmp_path, is_named=is_named, seconds=SECONDS))
    assert len({name for name, _ in found}) == len(found) >= 150
    assert [(name, error) for name, error in found if error is not None] == []
