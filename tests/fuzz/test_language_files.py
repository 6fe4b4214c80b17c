"""Damaged files of language models either load or end in one line for the user."""

import signal

import pytest

from rlx.cli.errors import is_for_the_user, one_line
from tests.fuzz import language_files

pytestmark = pytest.mark.slow

SECONDS = 20


@pytest.mark.parametrize(
    "make", [language_files.model, language_files.sharded, language_files.questions, language_files.policies]
)
def test_what_is_damaged_was_valid(make, tmp_path):
    language_files.load(make(tmp_path))


def test_damaged_files_load_or_are_named(tmp_path):
    failed, names = [], set()

    def too_long(*_):
        raise TimeoutError(f"it took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    try:
        for number, (name, make_damaged) in enumerate(language_files.cases()):
            names.add(name)
            folder = tmp_path / str(number)
            folder.mkdir()
            path = make_damaged(folder)
            signal.alarm(SECONDS)
            try:
                language_files.load(path)
            except BaseException as error:
                named = str(path) in one_line(error) or "the tokenizer fails at" in one_line(error)
                named = named or "end_token must be" in one_line(error)
                if not is_for_the_user(error) or not named:
                    failed.append(f"{name}: {type(error).__name__}: {one_line(error)}")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert len(names) == number + 1 >= 150
    assert not failed, "\n".join(failed)
