"""The table of methods says of each setting whose choice its default is, and `rlx methods NAME` prints it."""

import pytest

from rlx.cli import main
from rlx.recipes import RECIPES, recipe
from rlx.recipes.language_methods.table import ORIGINS, WITHIN
from rlx.recipes.settings import contains

TABLES = {name: recipe(name).methods() for name in RECIPES if recipe(name).methods is not None}
ENTRIES = [(of, name) for of, methods in TABLES.items() for name in methods]


@pytest.mark.parametrize(("of", "name"), ENTRIES)
def test_an_entry_says_whose_choice_each_default_is(of, name):
    entry = TABLES[of][name]
    assert entry.origin.keys() == entry.hyperparameters.keys()
    assert set(entry.origin.values()) <= set(ORIGINS)
    # What is taken from code names the code.
    assert entry.code or "code" not in entry.origin.values()
    for option, default in entry.hyperparameters.items():
        assert isinstance(default, (str, bool, type(None))) or contains(WITHIN.get(option), default), option


def test_a_method_is_printed_with_what_it_does_and_where_its_settings_come_from(capsys):
    assert main(["methods", "dapo"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("rlx train grpo --method dapo\n\nClip-higher, averages of tokens, dynamic sampling")
    lines = [line.split() for line in printed.splitlines()]
    assert ["clip_high", "0.28", "[0,", "inf)", "default:", "the", "paper's"] in lines
    assert ["code", "volcengine/verl"] in lines
    for of, name in ENTRIES:
        assert main(["methods", name]) == 0
        printed = capsys.readouterr().out
        assert f"rlx train {of} --method {name}" in printed
        assert all(f"  {option} " in printed for option in TABLES[of][name].hyperparameters)


def test_a_method_that_there_is_not_is_said(capsys):
    assert main(["methods", "dappo"]) == 2
    assert "no method 'dappo'; did you mean dapo" in capsys.readouterr().err
