"""The scripts that people copy run, at a tiny size, and give what their docstrings say."""

import importlib
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "experiments"
SMALL = dict(num_envs=4, unroll_length=8, num_minibatches=2, update_epochs=1, total_steps=64, hidden_sizes=(8,))
EVALUATION = dict(eval_prompts=2, eval_samples=2)
MODEL = dict(hidden_size=16, num_layers=1, num_heads=2, warmup_steps=2, warmup_batch_size=4)
TINY = {
    "dpo_from_pairs": (
        dict(batch_size=2, updates_per_step=1, sampled_prompts=4, samples=2, total_steps=4, **EVALUATION, **MODEL),
        (2, 2),
    ),
    "grpo_with_a_reward_of_your_own": (
        dict(num_prompts=2, group_size=2, minibatches=1, total_steps=8, **EVALUATION, **MODEL),
        (2, 2),
    ),
    "ppo_on_brax": (dict(env="rlx:pendulum", num_seeds=2, max_episode_steps=6, **SMALL), (2, 2)),
    "sac_from_parts": (dict(num_seeds=2, num_updates=2, hidden_sizes=(8,)), (2,)),
    "offline_with_a_line_of_your_own": (dict(num_rows=400, num_seeds=2, gradient_steps=2), (2,)),
    "sweep": (dict(rates=(1e-3,), clips=(0.1, 0.2), num_seeds=2, max_episode_steps=6, **SMALL), (2, 2)),
}


def test_every_script_is_tried():
    scripts = {path.stem for path in FOLDER.glob("[!_]*.py")}
    assert scripts == set(TINY)


# The others train language models, or from a dataset that they make first.
QUICK = ("ppo_on_brax", "sac_from_parts", "sweep")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TINY]
)
def test_a_script_runs(name, capsys):
    options, shape = TINY[name]
    found = importlib.import_module(f"experiments.{name}").main(**options)
    for values in found.values() if isinstance(found, dict) else [found]:
        assert values.shape == shape and np.isfinite(values).all()
    assert capsys.readouterr().out


@pytest.mark.parametrize("name", TINY)
def test_a_script_fits_on_two_screens(name):
    assert len((FOLDER / f"{name}.py").read_text().splitlines()) <= 90
