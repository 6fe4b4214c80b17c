"""No run folder runs code: what its config names is imported only where the command line names it, too."""

import dataclasses
import json
import sys

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

import rlx
from rlx import cli, envs
from rlx.envs import registry
from rlx.recipes import language_tasks, recipe, trained
from tests.recipes.test_trained import write_run

CODE = """
from pathlib import Path

Path({marker!r}).touch()


def make():
    Path({marker!r}).touch()


def reward(prompt, response, answer):
    return 0.0


def turn(messages):
    return None
"""


@pytest.fixture
def was_run(tmp_path, monkeypatch):
    """Whether the code that runs of this test name has run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_TRUSTED", set())
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "evil_code", raising=False)
    language_tasks._texts.cache_clear()
    (tmp_path / "evil_code.py").write_text(CODE.format(marker=str(tmp_path / "ran")))
    yield lambda: (tmp_path / "ran").exists()
    sys.modules.pop("evil_code", None)


@pytest.fixture
def task(tmp_path):
    """A task of texts whose reward is code, and the folder of the tokenizer that it needs."""
    words = ["<pad>", "<end>", "+", *map(str, range(40))]
    tokenizer = Tokenizer(models.WordLevel({word: token for token, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    folder = tmp_path / "weights"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<end>"}))
    lines = [json.dumps({"question": f"{n} + {n}", "answer": str(2 * n)}) for n in range(20)]
    (tmp_path / "sums.jsonl").write_text("\n".join(lines))
    return {"task": "sums.jsonl@reward=evil_code:reward", "pretrained": str(folder)}


@pytest.mark.parametrize(
    "command",
    [
        ["play", "run"],
        ["plot", "run"],
        ["evaluate", "run", "--dataset", "nothing.hdf5"],
        ["export", "run", "out"],
        ["train", "ppo", "--resume", "--run-dir", "run"],
    ],
    ids=lambda words: words[0],
)
def test_an_environment_of_a_run_folder_is_not_imported(was_run, tmp_path, command, capsys):
    write_run(tmp_path / "run", env="evil_code:make")
    (tmp_path / "run" / "checkpoints" / "3").mkdir(parents=True)
    code = cli.main(command)
    error = capsys.readouterr().err
    assert not was_run() and "evil_code" not in sys.modules
    if command[0] == "plot":  # which makes no environment
        assert code == 0
    else:
        assert code == 2 and len(error.splitlines()) == 1
    if command[0] in ("play", "train"):
        assert "--env evil_code:make" in error


def test_nor_by_load(was_run, tmp_path):
    write_run(tmp_path / "run", env="evil_code:make")
    (tmp_path / "run" / "checkpoints" / "3").mkdir(parents=True)
    with pytest.raises(envs.UnknownEnvironment, match="--env evil_code:make"):
        rlx.load(tmp_path / "run")
    assert not was_run()


@pytest.mark.parametrize("reward", ["evil_code:reward", "'evil_code:reward'", "evil_code.reward", "os.system"])
def test_nor_is_a_reward(was_run, task, tmp_path, reward):
    config = recipe("grpo").config(**task | {"task": f"sums.jsonl@reward={reward}"})
    with pytest.raises(envs.UntrustedCode, match="code of your own"):
        language_tasks.make_environment(config)
    assert not was_run()


@pytest.mark.parametrize("turn", ["evil_code:turn", "evil_code.turn"])
def test_nor_is_what_replies_to_turns(was_run, task, turn):
    config = recipe("grpo").config(**task | {"task": f"sums.jsonl@turn={turn}"})
    with pytest.raises(envs.UntrustedCode, match="code of your own"):
        language_tasks.make_environment(config)
    assert not was_run()


def test_the_command_line_may_name_what_replies(was_run, task, tmp_path, capsys):
    """By the same words as the run's own command, or by those that the error gives."""
    folder = write_run(tmp_path / "run", "grpo", **task | {"task": "sums.jsonl@turn=evil_code:turn@response_length=4"})
    with pytest.raises(envs.UntrustedCode, match="add --turn evil_code:turn, of rlx train --task sums.jsonl@turn=evil"):
        language_tasks.make_environment(trained.read(folder).config)
    assert cli.main(["export", "run", "out", "--turn", "evil_code:turn"]) == 2
    assert "no checkpoint" in capsys.readouterr().err
    assert language_tasks.make_environment(trained.read(folder).config).num_turns == 4
    assert was_run()


@pytest.mark.parametrize("words", [["--reward", "evil_code:reward"], ["--trust-config"]], ids=" ".join)
def test_the_command_line_may_name_it(was_run, task, tmp_path, words, capsys):
    """The run has no checkpoint, so the command ends there; what it may import is known by then."""
    folder = write_run(tmp_path / "run", "grpo", **task)
    assert cli.main(["export", "run", "out", *words]) == 2
    assert "no checkpoint" in capsys.readouterr().err
    language_tasks.make_environment(trained.read(folder).config)
    assert was_run()


def test_load_may_be_told_to_trust(was_run, task, tmp_path):
    record = trained.read(write_run(tmp_path / "run", "grpo", **task), trust_config=True)
    assert not was_run()  # reading a record imports nothing, whoever is trusted
    language_tasks.make_environment(record.config)
    assert was_run()


def test_a_command_trusts_what_it_names_itself(was_run, task):
    from rlx.cli.train import read_arguments

    _, config, _, _ = read_arguments(
        recipe("grpo"), ["--task", task["task"], "--pretrained", task["pretrained"], "--seeds", "1"]
    )
    language_tasks.make_environment(config)
    assert was_run()


def test_every_text_of_a_config_is_looked_at(was_run, tmp_path):
    """A field that begins to name code one day is covered by the same rule."""
    fields = {field.name: "evil_code:make" for field in dataclasses.fields(recipe("ppo").config) if field.type == "str"}
    write_run(tmp_path / "run", **fields)
    trained.read(tmp_path / "run")
    assert not was_run() and not envs.is_trusted("evil_code:make")
    trained.read(tmp_path / "run", trust_config=True)
    assert envs.is_trusted("evil_code:make")
