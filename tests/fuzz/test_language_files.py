"""Damaged files of language models either load or end in one line for the user."""

import pytest

from tests.fuzz import language_files
from tests.fuzz.damage import answers

pytestmark = pytest.mark.slow

SECONDS = 20


MAKES = ("model", "sharded", "questions", "columns", "policies")


@pytest.mark.parametrize("make", [getattr(language_files, name) for name in MAKES], ids=MAKES)
def test_what_is_damaged_was_valid(make, tmp_path):
    assert language_files.load(make(tmp_path)) is not None


def test_damaged_files_load_or_are_named(tmp_path):
    def is_named(path, line):
        return str(path) in line or "the tokenizer fails at" in line or "end_token must be" in line

    found = list(answers(language_files.cases(), language_files.load, tmp_path, is_named=is_named, seconds=SECONDS))
    assert len({name for name, _ in found}) == len(found) >= 150
    assert [(name, error) for name, error in found if error is not None] == []
