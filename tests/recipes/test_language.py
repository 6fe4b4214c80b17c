"""What a command says of a language model is checked before anything is imported, compiled or written."""

import subprocess
import sys

import pytest

from rlx.recipes import SettingError, dpo, grpo, language, language_tasks, warm_start
from tests.fuzz import language_files

MISTYPED = """
import sys
from rlx import cli
for words in (
    "train grpo --task additoin",
    "train grpo --method grpoo",
    "train dpo --task additoin",
    "train dpo --method dop",
    "ablate grpo --task additoin",
    "ablate grpo --methods grpo,gpro",
    "ablate dpo --methods dop",
):
    assert cli.main(words.split()) == 2
assert "jax" not in sys.modules
"""


def test_mistyped_names_are_refused_without_jax(tmp_path):
    done = subprocess.run([sys.executable, "-c", MISTYPED], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for line, named in zip(
        done.stderr.splitlines(), ("additoin", "grpoo", "additoin", "dop", "additoin", "gpro", "dop")
    ):
        assert line.startswith("rlx: error: no ") and named in line and "did you mean" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "config, values, message",
    [
        (grpo.Config, {"method": "grpo@beta=abc"}, "grpo: beta must be a finite number, got 'abc'"),
        (grpo.Config, {"method": "grpo@beta=1e400"}, "grpo: beta must be a finite number, got inf"),
        (grpo.Config, {"method": "grpo@clip=-1"}, r"grpo: clip must be in \[0, inf\), got -1"),
        (grpo.Config, {"method": "siren@top_p=2"}, r"siren: top_p must be in \(0, 1\], got 2"),
        (grpo.Config, {"method": "grpo@clip=1@clip=2"}, "grpo is given 'clip' twice"),
        (grpo.Config, {"replayed": 16}, "replayed must be below num_prompts=16"),
        (grpo.Config, {"task": "nowhere.jsonl"}, "task must be a task or a file .*; there is no file 'nowhere.jsonl'"),
        (dpo.Config, {"method": "cdpo@flip_rate=0.7"}, r"cdpo: flip_rate must be in \[0, 0.5\), got 0.7"),
        (dpo.Config, {"pairs": "nowhere.jsonl"}, "pairs must be a file of pairs, got 'nowhere.jsonl'"),
    ],
)
def test_values_are_checked_in_the_config(config, values, message):
    with pytest.raises(ValueError, match=message):
        config(**values)


def test_a_file_that_is_there_needs_a_tokenizer(tmp_path):
    questions = str(language_files.questions(tmp_path))
    for config, field in ((grpo.Config, "task"), (dpo.Config, "pairs")):
        with pytest.raises(SettingError, match="pretrained must name a folder of weights whose tokenizer reads"):
            config(**{field: questions})
    with pytest.raises(SettingError, match="test_pairs must be a file of pairs, got 'nowhere.jsonl'"):
        dpo.Config(pairs=questions, test_pairs="nowhere.jsonl")


def test_sizes_of_policies_are_told_before_they_are_traced():
    config = grpo.Config(hidden_size=2_000_000_000)
    task = language_tasks.make_environment(config)
    with pytest.raises(
        ValueError, match="hidden_size=2000000000 with num_layers=2 describes a model of 1.28e.20 param"
    ):
        language.make_structure(config, task)
    with pytest.raises(SettingError, match="num_heads must leave each head an even width of hidden_size=20, not 5"):
        language.make_structure(grpo.Config(hidden_size=20), task)


OTHERS = [(name, make) for name, make in language_files.cases() if name.startswith("warmup") and "flip" not in name]


@pytest.mark.parametrize("name, make", OTHERS, ids=[name for name, _ in OTHERS])
def test_what_holds_no_policies_is_no_warm_start(tmp_path, name, make):
    assert warm_start.seeds_of(language_files.policies(tmp_path)).tolist() == [3, 5]
    (tmp_path / "other").mkdir()
    with pytest.raises(SettingError, match="warm_start must be a file that rlx ablate grpo wrote, got .*warmup.npz"):
        warm_start.seeds_of(make(tmp_path / "other"))
