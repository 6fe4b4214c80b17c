"""Runs on pairs, whole: of a verifier's judgments, and of a file for open weights."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

import rlx
from rlx import recipes
from rlx.algorithms import dpo
from rlx.losses import preference
from rlx.policies import transformer
from rlx.recipes.dpo import chosen_loss
from rlx.recipes.settings import SettingError

TINY = dict(
    task="sorting@length=2@symbols=3", hidden_size=8, num_layers=1, num_heads=2, warmup_steps=20, warmup_batch_size=16,
    sampled_prompts=8, samples=4, batch_size=4, updates_per_step=2, total_steps=16, eval_prompts=4, eval_samples=2,
)  # fmt: skip


@pytest.mark.slow
def test_a_run_on_a_task_with_a_sweep_of_beta():
    recipe = recipes.recipe("dpo")
    config = recipe.configure(**TINY, warmup_learning_rate=0.01)
    assert config.num_updates == 2 and config.steps_name == "pairs" and config.env_name == config.task
    build = recipes.make_build(recipe, config)

    def run(beta):
        program = build({"beta": beta})
        state, metrics = program.step(program.init(jax.random.key(0)))
        return state, metrics, program.evaluate(state, jax.random.key(1))

    state, metrics, evaluation = jax.jit(jax.vmap(run))(jnp.array([0.1, 10.0]))
    assert state.learner.update.tolist() == [2, 2] and np.isfinite(jax.tree.leaves(state.params)[0]).all()
    assert 0 < metrics["pair_share"][0] <= 1 and metrics["loss"][0] != metrics["loss"][1]
    # The same policy writes the same pairs, whatever is learned from them.
    np.testing.assert_array_equal(*state.source.pairs.token)
    assert {"eval_return_mean", "eval_pass_at_k", "eval_drift"} <= set(evaluation)
    assert {f"eval_{name}" for name in ("pair_accuracy", "margin", "chosen_log_prob", "rejected_log_prob")} <= set(
        evaluation
    )


WORDS = ["<pad>", "<end>", "say", "it", *"abcd", "good", "bad"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "small"
    config = transformer.Config(
        vocab_size=len(WORDS), hidden_size=8, intermediate_size=8, num_layers=1, num_heads=1, num_key_value_heads=1,
        head_dim=8,
    )  # fmt: skip
    params = transformer.init(jax.random.key(0), config)
    # Adapters leave the embedding as it is, and a new one tells hardly any words apart.
    params["embedding"] *= 20
    transformer.save_pretrained(folder, config, params)
    tokenizer = Tokenizer(models.WordLevel({word: token for token, word in enumerate(WORDS)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<end>"}))
    return folder


@pytest.mark.slow
def test_a_run_on_a_file_learns_what_it_prefers(weights, tmp_path):
    rows = [{"prompt": f"say {x} {y}", "chosen": f"{x} good", "rejected": f"{y} bad"} for x in "abcd" for y in "abcd"]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    options = TINY | dict(warmup_steps=0, batch_size=8, updates_per_step=40, total_steps=320)
    values = dict(
        pairs=f"{path}@prompt_length=4@response_length=4",
        pretrained=str(weights),
        lora_rank=2,
        learning_rate=0.02,
        measure_drift=True,
    )
    recipe = recipes.recipe("dpo")
    config = recipe.configure(**options | values)
    assert config.env_name.startswith(str(path))
    build = recipes.make_build(recipe, config)
    # Pairs are an argument of the compiled program, 14 to train on and 2 to evaluate on.
    assert [len(of.prompt) for of in build.data.pairs] == [14, 2]

    @jax.jit
    def run(data):
        program = recipes.make_program(recipe, config, data=data)
        begun = program.init(jax.random.key(0))
        state, metrics = program.step(begun)
        evaluate = lambda state: program.evaluate(state, jax.random.key(1))
        return state, metrics, evaluate(begun), evaluate(state)

    state, metrics, before, after = run(build.data)
    assert state.source.pairs is None and state.source.reference_log_prob.shape == (14, 2, 4)
    assert float(before["eval_pair_accuracy"]) == 0.5 and abs(float(before["eval_margin"])) < 1e-5
    assert float(after["eval_pair_accuracy"]) == 1.0 and float(after["eval_margin"]) > 1.0
    assert float(after["eval_return_mean"]) == float(after["eval_pair_accuracy"])
    assert float(after["eval_drift"]) > float(before["eval_drift"]) and "eval_pass_at_k" not in after
    # Nothing judges the responses: there is no need to have one to each held-out prompt.
    assert "eval_num_prompts" not in after


def test_methods_are_named_or_given():
    config = recipes.recipe("dpo").configure
    assert dpo.uses(chosen_loss(config(method="simpo@margin=1.0"))) == {"length"}
    assert chosen_loss(config(method="robust_dpo@flip_rate=0.2", beta=0.3)).keywords == dict(beta=0.3, flip_rate=0.2)
    assert chosen_loss(config(method=preference.ipo)) is preference.ipo
    assert chosen_loss(config(method=preference.ipo, beta=0.2)).keywords == dict(beta=0.2)
    with pytest.raises(ValueError, match="no method 'dop'; did you mean"):
        rlx.make_train("dpo", method="dop")
    with pytest.raises(ValueError, match="simpo has no hyperparameter 'gamma'; it has beta, margin"):
        rlx.make_train("dpo", method="simpo@gamma=1.0")
    with pytest.raises(SettingError, match="beta is given by method='dpo@beta=0.2' already"):
        rlx.make_train("dpo", method="dpo@beta=0.2", beta=0.1)


def test_what_files_lack_is_one_line(weights, tmp_path):
    with pytest.raises(SettingError, match="pairs must be a file of pairs, got 'nowhere.jsonl'"):
        rlx.make_train("dpo", pairs="nowhere.jsonl", pretrained=str(weights))
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"prompt": "a", "chosen": "b", "rejected": "c"}))
    with pytest.raises(ValueError, match=f"no tokenizer at {tmp_path}"):
        rlx.make_train("dpo", pairs=str(path), pretrained=str(tmp_path))
    with pytest.raises(SettingError, match="test_pairs must be a file of pairs"):
        rlx.make_train("dpo", pairs=str(path), test_pairs="nowhere.jsonl", pretrained=str(weights))
    with pytest.raises(SettingError, match="pairs must be a file of pairs, got 'some.jsonl'"):
        rlx.make_train("dpo", pairs="some.jsonl")
    with pytest.raises(SettingError, match="pretrained must name a folder"):
        rlx.make_train("dpo", pairs=str(path))
    with pytest.raises(SettingError, match="test_pairs needs --pairs"):
        rlx.make_train("dpo", test_pairs="some.jsonl")
