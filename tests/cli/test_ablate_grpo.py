"""`rlx ablate grpo`: methods from the same warmed-up policies."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from rlx import cli
from rlx.recipes import grpo, language_tasks, make_build, warm_start

pytestmark = pytest.mark.long(minutes=0.7)

TINY = dict(
    task="sorting@length=2@symbols=3",
    hidden_size=16,
    num_layers=1,
    num_heads=2,
    num_prompts=2,
    group_size=4,
    minibatches=1,
    eval_prompts=8,
    eval_samples=4,
    warmup_steps=3,
    warmup_batch_size=4,
    total_steps=32,
)
WORDS = [word for name, value in TINY.items() for word in (f"--{name.replace('_', '-')}", str(value))]


@pytest.mark.slow
def test_methods_side_by_side_from_the_same_warm_up(tmp_path, capsys):
    out = tmp_path / "comparison"
    words = ["ablate", "grpo", *WORDS, "--methods", "entropy_bonus@coefficient=0.5,reinforce", "--seeds", "2"]
    words += ["--evaluations", "2", "--reports", "2", "--quiet", "--run-dir", str(out)]
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary["methods"]) == ["entropy_bonus@coefficient=0.5", "reinforce"] and summary["responses"] == 32
    assert len(summary["warm_up"]["accuracy"]["per_seed"]) == 2
    assert np.allclose(summary["warm_up"]["kl_to_start"]["per_seed"], 0, atol=1e-6)
    for label, of in summary["methods"].items():
        measures = of["measures"]
        assert measures["pass_at_k"]["interquartile_mean"] >= measures["pass_at_1"]["interquartile_mean"] - 1e-6
        assert of["paper"] and of["responses_per_second"] > 0
        assert json.loads((out / label / "config.json").read_text())["config"]["method"] == label
    # Rewards may all be alike so early; the bonus moves the policy in any case.
    assert min(summary["methods"]["entropy_bonus@coefficient=0.5"]["measures"]["kl_to_start"]["per_seed"]) > 0
    assert (out / "ablation.md").read_text() in printed and "pass@4" in printed
    assert all((out / name).stat().st_size > 0 for name in ("intervals.png", "curve.png"))
    assert cli.main([*words, "--resume"]) == 0
    assert json.loads((out / "summary.json").read_text()) == summary

    assert cli.main(["play", str(out / "reinforce"), "--episodes", "3", "--seed", "1"]) == 0
    heading, *lines = capsys.readouterr().out.strip().splitlines()[-4:]
    assert "sorting@length=2@symbols=3 · seed 1" in heading
    assert all(line.split()[0] in ("right", "wrong") and "→" in line for line in lines)

    # A run from the file begins with the very policy that its own warm-up would have given it.
    config = grpo.Config(**TINY)
    given = dataclasses.replace(config, warm_start=str(out / "warmup.npz"))
    builds = [make_build(grpo.RECIPE, one, 4) for one in (config, given)]
    own, read = jax.jit(lambda: [build({}).init(jax.random.key(1)).params for build in builds])()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), own, read)
    # A seed that the file does not have is refused before anything is compiled.
    words = ["train", "grpo", *WORDS, "--warm-start", str(out / "warmup.npz"), "--first-seed", "7", "--seeds", "1"]
    assert cli.main([*words, "--run-dir", str(tmp_path / "other")]) == 2
    assert "--warm-start" in capsys.readouterr().err and not (tmp_path / "other").exists()
    # A comparison that is given policies begins with these, not with a warm-up of its own.
    warm_start.save(given, (1,), tmp_path / "again.npz")
    with np.load(out / "warmup.npz") as first, np.load(tmp_path / "again.npz") as again:
        place = list(first["seed"]).index(1)
        np.testing.assert_array_equal(first["leaf0"][place], again["leaf0"][0])
    with pytest.raises(ValueError, match="have another"):
        warm_start.load(dataclasses.replace(given, hidden_size=8), language_tasks.make_environment(config))


@pytest.mark.parametrize(
    "words, message",
    [
        (["--methods", "grpo,gpro"], "no method 'gpro'"),
        (["--methods", "grpo,grpo"], "different methods"),
        (["--methods", "grpo", "--resume"], "--resume needs --run-dir"),
        (["--methods", "grpo", "--sweep", "learning_rate=1,2"], "METHOD@NAME=VALUE"),
        (["--methods", "grpo", "--warm-start", "nowhere.npz", "--run-dir", "{}"], "--warm-start must be a file"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(words, message, tmp_path, capsys):
    words = [word.format(tmp_path / "run") for word in words]
    assert cli.main(["ablate", "grpo", *WORDS, *words, "--quiet"]) != 0
    assert message in capsys.readouterr().err
