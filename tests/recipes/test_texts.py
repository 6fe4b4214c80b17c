"""Open weights and a file of questions: trained, played and written again, all from the command line."""

import json

import jax
import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from rlx import cli, recipes
from rlx.cli import train
from rlx.policies import transformer
from rlx.recipes import language_tasks
from rlx.training import runs

WORDS = ["<pad>", "<end>", "+", "=", "####", *map(str, range(7))]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "small"
    config = transformer.Config(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=16, num_layers=1, num_heads=2, num_key_value_heads=1,
        head_dim=8, attention_bias=True,
    )  # fmt: skip
    transformer.save_pretrained(folder, config, transformer.init(jax.random.key(0), config))
    tokenizer = Tokenizer(models.WordLevel({word: token for token, word in enumerate(WORDS)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<pad>", "<end>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.slow
def test_weights_are_trained_on_a_file_and_written_again(weights, tmp_path, capsys):
    lines = [json.dumps({"question": f"{a} + {b} =", "answer": f"#### {a + b}"}) for a in range(4) for b in range(4)]
    (tmp_path / "sums.jsonl").write_text("\n".join(lines))
    task = f"{tmp_path / 'sums.jsonl'}@prompt_length=4@response_length=3@end_token=<end>"
    run = str(tmp_path / "run")
    words = ["train", "grpo", "--task", task, "--pretrained", str(weights), "--method", "grpo@beta=0.1", "--seeds", "1"]
    words += ["--num-prompts", "2", "--replayed", "1", "--group-size", "4", "--minibatches", "1", "--quiet"]
    words += ["--total-steps", "16", "--eval-prompts", "2", "--eval-samples", "2", "--warmup-steps", "2"]
    words += ["--lora-rank", "2", "--lora-matrices", "query", "down"]
    assert cli.main([*words, "--run-dir", run]) == 0
    assert cli.main(["play", run, "--episodes", "2"]) == 0
    assert capsys.readouterr().out.count("→") == 2

    out = tmp_path / "after"
    assert cli.main(["export", run, str(out), "--checkpoint", "latest"]) == 0
    (before, old), (after, new) = (transformer.load_pretrained(folder) for folder in (weights, out))
    assert before == after and jax.tree.map(np.shape, old) == jax.tree.map(np.shape, new)
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), old, new)
    adapted = {name for name, of in changed["layers"].items() if any(jax.tree.leaves(of))}
    assert adapted == {"query", "down"} and not any(changed[name] for name in changed.keys() - {"layers"})
    assert (out / "tokenizer.json").read_bytes() == (weights / "tokenizer.json").read_bytes()
    assert cli.main(["export", run, str(out)]) == 2
    assert "holds weights already" in capsys.readouterr().err


@pytest.fixture
def sums(tmp_path):
    lines = [json.dumps({"question": f"{a} + {b} =", "answer": f"#### {a + b}"}) for a in range(4) for b in range(4)]
    (tmp_path / "sums.jsonl").write_text("\n".join(lines))
    return f"{tmp_path / 'sums.jsonl'}@prompt_length=4@response_length=3@end_token=<end>"


@pytest.mark.parametrize("rank, rate, what", [(0, 1e-6, "all weights"), (2, 1e-5, "adapters of rank 2")])
@pytest.mark.parametrize("name", ["grpo", "dpo"])
def test_pretrained_weights_are_treated_with_care_unless_told_otherwise(name, weights, sums, rank, rate, what):
    words = ["--task", sums, "--pretrained", str(weights), "--lora-rank", str(rank)]
    recipe, config, options, _ = train.read_arguments(recipes.recipe(name), words)
    assert (config.warmup_steps, config.learning_rate, options.seeds) == (0, rate, 1)
    assert recipe.configure(task=sums, pretrained=str(weights), lora_rank=rank) == config
    learned, memory = recipe.notes(config)
    assert what in learned and f"learning rate of {rate:g}" in learned and "parameters" in learned
    assert "each seed takes" in memory
    _, config, options, _ = train.read_arguments(recipe, [*words, "--learning-rate", "0.1", "--seeds", "3"])
    assert (config.learning_rate, options.seeds) == (0.1, 3)


def test_a_task_that_a_trace_asked_for_serves_afterwards(weights, sums):
    config = recipes.recipe("grpo").configure(task=sums, pretrained=str(weights))
    prompt = lambda index: language_tasks.make_environment(config).problem(index).prompt
    np.testing.assert_array_equal(jax.jit(prompt)(0), prompt(0))


def test_only_language_models_are_exported(tmp_path, capsys):
    plan = {"env": "rlx:pendulum", "seeds": 1, "num_updates": 1, "sweep": {}}
    config = {"format": runs.FORMAT, "algorithm": "ppo", "config": plan, "env": "rlx:pendulum"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert cli.main(["export", str(tmp_path), str(tmp_path / "out")]) == 2
    assert "rlx export writes language models" in capsys.readouterr().err
