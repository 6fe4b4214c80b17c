"""A wrong command is answered by one line and exit code 2, and has changed nothing."""

from pathlib import Path

import pytest

from tests.fuzz.commands import attempt, commands, prepare

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    prepare(folder)
    return folder


def test_there_are_hundreds():
    assert len(commands()) >= 300


@pytest.mark.parametrize("command", commands())
def test_a_wrong_command_gets_one_line(command, folder, unannotated):
    with unannotated:
        outcome = attempt(command, folder)
    assert outcome.is_well_answered, outcome
