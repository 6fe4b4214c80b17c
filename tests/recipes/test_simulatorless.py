"""Training from a dataset where there is no simulator."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

import rlx
from rlx import cli, data, recipes
from rlx.data.minari import describe_space
from rlx.recipes import offline
from rlx.recipes.simulatorless import described

ROWS = 24
NEAR, FAR = (np.linspace(*ends, ROWS)[:, None] for ends in ((-0.7, 0.9), (-3, 2)))


@pytest.fixture
def write(tmp_path):
    """A small dataset with given actions and metadata."""

    def made(action, **metadata):
        rng, last = np.random.default_rng(0), np.arange(ROWS) % 8 == 7
        observation = rng.normal(size=(ROWS, 5))
        rows = data.make_dataset(observation, action, rng.normal(size=ROWS), observation, np.zeros(ROWS), last)
        path = tmp_path / "logged.hdf5"
        data.write_dataset(path, rows, metadata)
        return str(path)

    return made


@pytest.mark.parametrize(
    "action, metadata, expected",
    [
        (NEAR, {}, spaces.Box(-1, 1, (1,), np.float32)),
        (FAR, {}, spaces.Box(-3, 2, (1,), np.float32)),
        (FAR, {"action_space": describe_space(spaces.Box(-4, 4, (1,)))}, spaces.Box(-4, 4, (1,))),
        (FAR, {"action_space": describe_space(spaces.Discrete(2))}, spaces.Box(-3, 2, (1,))),
        (np.arange(ROWS) % 3, {}, spaces.Discrete(3)),
        (np.arange(ROWS) % 3, {"action_space": describe_space(spaces.Discrete(5))}, spaces.Discrete(5)),
    ],
)  # fmt: skip
def test_spaces_are_those_of_the_dataset(write, action, metadata, expected):
    config = recipes.recipe("bc").configure(dataset=write(action, **metadata), env="none")
    environment = recipes.recipe("bc").make_environment(config)
    assert environment.action_space == expected and environment.observation_space.shape == (5,)


@pytest.mark.parametrize(
    "text", [None, 3, "", "{", "[]", '{"type": "Box"}', '{"type": "Box", "low": [1], "high": [0, 1]}']
)
def test_what_describes_no_space_is_passed_over(text):
    assert described(text) is None
    assert described(json.dumps({"type": "Discrete", "n": 3, "start": 1})) is None


def test_a_run_learns_and_evaluates_nothing(write):
    dataset = write(NEAR)
    small = {"hidden_sizes": (4,), "batch_size": 4, "total_steps": 4, "updates_per_step": 4}
    state, metrics = jax.jit(rlx.make_train("bc", dataset=dataset, env="none", **small))(jax.random.key(0))
    assert np.isfinite(metrics["actor_loss"]).all() and state.update == 1
    recipe = recipes.recipe("bc")
    config = recipe.configure(dataset=dataset, env="none", **small)
    environment = recipe.make_environment(config)
    learner = recipe.make_learner(config, environment, num_updates=1)
    assert recipe.make_evaluator(config, environment, learner, offline.load(config))(state.learner, None) == {}
    assert learner.mode(state.learner, jnp.zeros((2, 5))).shape == (2, 1)
    with pytest.raises(ValueError, match="no simulator to act in"):
        environment.step((), None, None)


def test_steps_in_an_environment_need_one(write):
    dataset = write(np.zeros((ROWS, 1)) + 0.5)
    config = recipes.recipe("iql").configure(
        dataset=dataset, env="none", online_steps=1000, total_steps=1000, updates_per_step=1000
    )
    with pytest.raises(ValueError, match="online_steps must be 0 without a simulator"):
        recipes.recipe("iql").make_environment(config)


def test_other_learners_have_no_such_environment(capsys):
    assert cli.main(["train", "sac", "--env", "none"]) == 2
    assert "no environment 'none'" in capsys.readouterr().err


@pytest.mark.slow
def test_from_the_command_line_to_an_estimate(write, tmp_path, capsys):
    run = str(tmp_path / "run")
    words = ["train", "iql", "--dataset", write(np.arange(ROWS) % 3), "--env", "none", "--run-dir", run, "--seeds", "1"]
    words += ["--total-steps", "8", "--updates-per-step", "2", "--hidden-sizes", "4", "--batch-size", "4"]
    assert cli.main(words) == 0
    printed = capsys.readouterr()
    assert "not measured without a simulator" in printed.out and "rlx play" not in printed.out
    assert "warning" not in printed.err
    assert cli.main([*words, "--resume"]) == 0
    small = ["--steps", "4", "--cloning-steps", "2", "--members", "2", "--hidden-sizes", "4", "--quiet"]
    assert cli.main(["evaluate", run, "--stochastic", *small]) == 0
    assert "doubly robust" in capsys.readouterr().out
    assert cli.main(["play", run]) == 2
    assert "no simulator to act in" in capsys.readouterr().err
