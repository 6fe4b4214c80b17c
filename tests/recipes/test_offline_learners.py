"""Learners from a dataset, wired up: every one learns, with parts of one's own too; the one of sequences is resumed."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gymnasium import spaces

from rlx import cli, data, envs, policies, recipes
from rlx.algorithms.actor_critic import Slots
from rlx.data.reference_scores import MAXIMUM, MINIMUM
from rlx.envs.wrapper import Wrapper
from rlx.recipes import offline
from rlx.recipes.datasets import collect
from rlx.training.interaction import uniform_actions

ROOT = Path(__file__).parents[2]
SCORED = (-60.0, -1.0)
TINY = {"embedding_size": 8, "num_layers": 1, "sequence_length": 3, "batch_size": 4}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """What random actions do to the pendulum."""
    environment = envs.make("rlx:pendulum", max_episode_steps=10)
    made = collect(environment, uniform_actions(environment.action_space), jax.random.key(0), 40)
    path = tmp_path_factory.mktemp("data") / "pendulum.hdf5"
    data.write_dataset(path, made, {"env": "rlx:pendulum", MINIMUM: SCORED[0], MAXIMUM: SCORED[1]})
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


@pytest.mark.slow
def test_it_is_the_same_in_any_company_and_asks_for_the_best_return_unless_told_otherwise(dataset):
    recipe = recipes.recipe("decision_transformer")
    config = recipe.configure(dataset=dataset, return_scale=1.0, total_steps=3, warmup_steps=1, **TINY)
    program = recipes.make_program(recipe, config)
    trained = jax.jit(jax.vmap(lambda seed: program.step(program.init(jax.random.key(seed)))[0].learner))
    states = [jax.tree.map(lambda x: x[i], trained(seeds)) for i, seeds in ((0, jnp.arange(2)), (1, jnp.array([5, 0])))]
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), *states)
    assert states[0].step == 3

    environment = recipe.make_environment(config)
    _, history = environment.reset(jax.random.key(0))
    batch = jax.tree.map(lambda x: x[None], history)
    made = data.read_dataset(dataset).dataset
    best = float(np.max(made.episode_return))
    # Parameters are too small at first for what is asked for to show.
    state = states[0]._replace(params=jax.tree.map(lambda x: 10 * x, states[0].params))

    def action(target):
        asking = recipe.configure(dataset=dataset, return_scale=1.0, target_return=target, **TINY)
        return recipe.make_learner(asking, environment, num_updates=1).mode(state, batch)

    actions = [action(target) for target in (None, best, best + 5.0)]
    np.testing.assert_allclose(actions[0], actions[1], rtol=1e-6)
    assert not np.allclose(actions[0], actions[2], rtol=1e-3)


def test_what_a_policy_with_a_memory_does_is_logged_as_it_was_observed():
    bare = envs.make("rlx:pendulum", max_episode_steps=4)
    act = uniform_actions(bare.action_space)
    logs = [collect(x, act, jax.random.key(0), 12, 2) for x in (bare, envs.with_history(bare, 3))]
    jax.tree.map(np.testing.assert_array_equal, *logs)


OFFLINE = [name for name in recipes.RECIPES if issubclass(recipes.recipe(name).config, offline.Offline)]
SMALL = {"hidden_sizes": (4,), "batch_size": 4, "total_steps": 2, "updates_per_step": 2}
OWN = {
    "a2pr": {"vae_hidden_sizes": (4,), "critic_hidden_sizes": (4,)},
    "odice": {"critic_hidden_sizes": (4,)},
    "cql": {"num_actions": 2},
    "cal_ql": {"num_actions": 2},
    "sac_n": {"num_critics": 2},
    "edac": {"num_critics": 2, "bisimulation_weight": 0.5, "encoder_sizes": (4,), "model_sizes": (4,)},
}


def test_all_learners_from_a_dataset_have_a_recipe():
    assert set(OFFLINE) >= {"bc", "td3_bc", "rebrac", "a2pr", "prdc", "iql", "awac", "odice", "cql", "cal_ql"}
    assert set(OFFLINE) >= {"sac_n", "edac", "decision_transformer"}


@pytest.mark.parametrize("name", [name for name in OFFLINE if name != "decision_transformer"])
def test_one_update_of_every_learner_is_evaluated_and_scored(dataset, name):
    recipe = recipes.recipe(name)
    values = SMALL | OWN.get(name, {}) | {"eval_episodes": 1, "max_episode_steps": 2}
    config = recipe.configure(dataset=dataset, **values)
    program = recipes.make_program(recipe, config)

    @jax.jit
    def run(key):
        state = program.init(key)
        after, metrics = program.step(state)
        return state.params, after.params, metrics, program.evaluate(after, key)

    before, after, metrics, evaluation = run(jax.random.key(0))
    changed = jax.tree.map(lambda x, y: jnp.any(x != y), before["actor"], after["actor"])
    assert any(jax.tree.leaves(changed)) and all(jnp.all(jnp.isfinite(x)) for x in metrics.values())
    low, high = SCORED
    expected = 100 * (evaluation["eval_return_mean"] - low) / (high - low)
    np.testing.assert_allclose(evaluation["eval_normalized_score"], expected, rtol=1e-4)
    assert config.num_envs_per_seed == 0 and config.steps_name == "gradient_steps" and config.num_updates == 1


def test_a_config_is_made_before_jax_runs(dataset):
    """Its environment is read from the dataset's metadata; after that, devices can still be made of the cores."""
    code = (
        "import sys, jax; from rlx import recipes; config = recipes.recipe('td3_bc').configure(dataset=sys.argv[1]); "
        "jax.config.update('jax_num_cpu_devices', 3); print(config.env, jax.device_count())"
    )
    variables = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    done = subprocess.run(
        [sys.executable, "-c", code, dataset], cwd=ROOT, env=variables, capture_output=True, text=True
    )
    assert done.stdout.split() == ["rlx:pendulum", "3"], done.stderr


def test_the_dataset_names_the_environment_and_another_one_is_refused(dataset):
    for name in OFFLINE:
        assert recipes.recipe(name).env_of({"dataset": dataset}) == "rlx:pendulum"
        assert recipes.recipe(name).env_of({"dataset": ""}) is None
    with pytest.raises(data.DatasetError, match="name the environment of the dataset"):
        recipes.make_train("bc", dataset=dataset, env="rlx:point_maze")
    with pytest.raises(data.DatasetError, match="--dataset"):
        recipes.make_train("bc")


def test_actions_of_another_scale_are_refused(dataset, tmp_path):
    found = data.read_dataset(dataset)
    for scale, name in ((50.0, "gross.hdf5"), (1.5, "small.hdf5")):
        scaled = found.dataset._replace(action=scale * found.dataset.action)
        data.write_dataset(tmp_path / name, scaled, found.metadata)
    with pytest.raises(data.DatasetError, match="gross.hdf5 is not of rlx:pendulum: actions reach from -.* by --env"):
        recipes.make_train("bc", dataset=str(tmp_path / "gross.hdf5"))
    with pytest.warns(UserWarning, match="a policy that stays within them cannot do the same"):
        recipes.make_train("bc", dataset=str(tmp_path / "small.hdf5"))


def test_parts_of_ones_own_take_the_place_of_the_configs(dataset):
    """A constant policy under an optimizer that moves it by one; no critic of the config's is left."""
    policy = policies.Network(
        lambda key, s: jnp.zeros(1), lambda params, s: jnp.broadcast_to(params, (*s.shape[:-1], 1))
    )
    away = optax.stateless(lambda updates, params: jax.tree.map(jnp.ones_like, updates))
    critic = policies.action_critic((3,), num=3)
    train = recipes.make_train("td3_bc", dataset=dataset, policy=policy, optimizer=away, critic=critic, **SMALL)
    state, _ = jax.jit(train)(jax.random.key(0))
    np.testing.assert_array_equal(state.params["actor"], [1.0])
    assert {x.shape[0] for x in jax.tree.leaves(state.params["critic"])} == {3}
    with pytest.raises(ValueError, match="bisimulation_weight"):
        recipes.make_train("td3_bc", dataset=dataset, critic=critic, bisimulation_weight=0.5)


@pytest.mark.slow
def test_slots_of_further_methods_are_added_to_the_methods_own(dataset):
    """A penalty of an amount that no parameter changes is seen in the metrics alone."""
    added = (Slots(critic_penalty=lambda step: 7.0 + 0.0 * step.q),)
    _, alone = jax.jit(recipes.make_train("td3_bc", dataset=dataset, **SMALL))(jax.random.key(0))
    _, more = jax.jit(recipes.make_train("td3_bc", dataset=dataset, added=added, **SMALL))(jax.random.key(0))
    assert "critic_penalty" not in alone
    np.testing.assert_allclose(more["critic_penalty"], 14.0, rtol=1e-6)
    np.testing.assert_allclose(more["critic_loss"], alone["critic_loss"], rtol=1e-5)


@dataclasses.dataclass(frozen=True, eq=False)
class InParts(Wrapper):
    """The pendulum that shows angle and speed apart."""

    observation_space = spaces.Dict({"angle": spaces.Box(-1, 1, (2,)), "speed": spaces.Box(-8, 8, (1,))})

    def reset(self, key):
        state, observation = self.environment.reset(key)
        return state, self.parts(observation)

    def step(self, state, action, key):
        state, step = self.environment.step(state, action, key)
        parts = {name: self.parts(getattr(step, name)) for name in ("observation", "next_observation")}
        return state, step._replace(**parts)

    def parts(self, observation):
        return {"angle": observation[:2], "speed": observation[2:]}


def test_what_an_environment_shows_in_parts_is_logged_as_a_vector():
    whole = envs.make("rlx:pendulum", max_episode_steps=4)
    act = uniform_actions(whole.action_space)
    logs = [collect(x, act, jax.random.key(0), 12, 2) for x in (whole, InParts(whole))]
    assert logs[1].observation.shape == (12, 3)
    jax.tree.map(np.testing.assert_array_equal, *logs)
