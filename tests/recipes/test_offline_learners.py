"""A learner of sequences: resumed, played, the same in any company, and the maker of a dataset."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import cli, data, envs
from rlx.recipes.datasets import collect, random_actions
from rlx.recipes.offline_learners import LEARNERS

TINY = {"embedding_size": 8, "num_layers": 1, "sequence_length": 3, "batch_size": 4}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """What random actions do to the pendulum."""
    environment = envs.make("rlx:pendulum", max_episode_steps=10)
    made = collect(environment, random_actions(environment.action_space), jax.random.key(0), 40)
    path = tmp_path_factory.mktemp("data") / "pendulum.hdf5"
    data.write_dataset(path, made, {"env": "rlx:pendulum"})
    return str(path)


def train(dataset, run_dir, *words):
    options = [word for name, value in TINY.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return cli.main(
        [
            *("train", "decision_transformer", "--dataset", dataset, "--run-dir", str(run_dir), *options),
            *("--max-episode-steps", "5", "--total-steps", "8", "--updates-per-step", "2", "--eval-episodes", "1"),
            *("--reports", "4", "--evaluations", "1", "--checkpoints", "4", "--keep-checkpoints", "8"),
            *("--no-rollout", "--no-report", "--quiet", *words),
        ]
    )


def test_a_run_is_resumed_bit_for_bit_and_played(dataset, tmp_path, capsys):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert train(dataset, whole, "--seeds", "2") == 0
    shutil.copytree(whole, cut)
    for update in ("3", "4"):
        shutil.rmtree(cut / "checkpoints" / update)
    (cut / "summary.json").unlink()
    assert train(dataset, cut, "--seeds", "2", "--resume") == 0
    hashes = [
        [run["params_sha256"] for run in json.loads((x / "summary.json").read_text())["runs"]] for x in (whole, cut)
    ]
    assert hashes[0] == hashes[1] and len(set(hashes[0])) == 2

    capsys.readouterr()
    assert cli.main(["play", str(whole), "--seed", "1", "--out", str(tmp_path / "play.gif")]) == 0
    assert "5 steps" in capsys.readouterr().out and (tmp_path / "play.gif").stat().st_size > 0


def test_it_is_the_same_in_any_company_and_asks_for_the_best_return_unless_told_otherwise(dataset):
    module = LEARNERS["decision_transformer"]
    config = module.Config(dataset=dataset, return_scale=1.0, total_steps=3, warmup_steps=1, **TINY)
    program = module.make_program(config)
    trained = jax.jit(jax.vmap(lambda seed: program.step(program.init(jax.random.key(seed)))[0].learner))
    states = [jax.tree.map(lambda x: x[i], trained(seeds)) for i, seeds in ((0, jnp.arange(2)), (1, jnp.array([5, 0])))]
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), *states)
    assert states[0].step == 3

    environment = module.make_environment(config)
    _, history = environment.reset(jax.random.key(0))
    batch = jax.tree.map(lambda x: x[None], history)
    made = data.read_dataset(dataset).dataset
    best = float(np.max(made.episode_return))
    # Parameters are too small at first for what is asked for to show.
    state = states[0]._replace(params=jax.tree.map(lambda x: 10 * x, states[0].params))
    actions = [
        module.make_learner(
            module.Config(dataset=dataset, return_scale=1.0, target_return=target, **TINY), environment
        ).mode(state, batch)
        for target in (None, best, best + 5.0)
    ]
    np.testing.assert_allclose(actions[0], actions[1], rtol=1e-6)
    assert not np.allclose(actions[0], actions[2], rtol=1e-3)


def test_what_a_policy_with_a_memory_does_is_logged_as_it_was_observed():
    bare = envs.make("rlx:pendulum", max_episode_steps=4)
    act = random_actions(bare.action_space)
    logs = [collect(x, act, jax.random.key(0), 12, 2) for x in (bare, envs.with_history(bare, 3))]
    jax.tree.map(np.testing.assert_array_equal, *logs)
