"""Learners from a dataset that go on in an environment, wired up."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import cli, data, envs, recipes
from rlx.cli.options import Options
from rlx.cli.train import make_plan
from rlx.data.reference_scores import MAXIMUM, MINIMUM
from rlx.recipes import SettingError, offline, online
from rlx.recipes.datasets import collect
from rlx.training.interaction import uniform_actions
from rlx.training.metrics import MetricsTable

SMALL = {"hidden_sizes": (4,), "batch_size": 4, "total_steps": 4, "updates_per_step": 4}
ONLINE = {"online_steps": 8, "num_envs": 2}
OWN = {
    "a2pr": {"vae_hidden_sizes": (4,), "critic_hidden_sizes": (4,)},
    "odice": {"critic_hidden_sizes": (4,)},
    "cql": {"num_actions": 2},
    "cal_ql": {"num_actions": 2},
}
LEARNERS = [name for name in recipes.RECIPES if issubclass(recipes.recipe(name).config, offline.Offline)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """What random actions do to the pendulum."""
    environment = envs.make("rlx:pendulum", max_episode_steps=10)
    made = collect(environment, uniform_actions(environment.action_space), jax.random.key(0), 40)
    path = tmp_path_factory.mktemp("data") / "pendulum.hdf5"
    data.write_dataset(path, made, {"env": "rlx:pendulum", MINIMUM: -60.0, MAXIMUM: -1.0})
    return str(path)


@pytest.mark.parametrize("name", [name for name in LEARNERS if name != "decision_transformer"])
def test_every_learner_of_single_observations_goes_on(dataset, name):
    """Traced alone, which finds whatever does not fit together; compiled below for one of them."""
    recipe = recipes.recipe(name)
    config = recipe.configure(dataset=dataset, max_episode_steps=10, **SMALL | ONLINE | OWN.get(name, {}))
    assert (config.num_updates, config.pretraining_updates, config.online_updates) == (3, 1, 2)
    assert (config.unroll_length, config.num_envs_per_seed) == (2, 2)
    program = recipes.make_program(recipe, config)
    state = jax.eval_shape(program.init, jax.random.key(0))
    after, metrics = jax.eval_shape(program.step, state)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state) and "online_steps" in metrics
    assert state.source.log.rows.observation.shape == (4, 2, 3)
    assert ("return_to_go" in state.source.log.rows.extras) == (name == "cal_ql")


def test_a_learner_of_sequences_does_not(dataset):
    with pytest.raises(SettingError, match="online_steps must be 0 for a learner of sequences"):
        recipes.recipe("decision_transformer").configure(dataset=dataset, online_steps=10)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"num_envs": 3}, "num_envs must divide the 4 environment steps of one update .* got 3"),
        ({"updates_per_online_step": 8.0}, "num_envs must divide the 0.5 environment steps of one update"),
        ({"online_steps": -1}, r"online_steps must be in \[0, 1e9\]"),
        ({"mixing_ratio": 1.5}, r"mixing_ratio must be in \[0, 1\]"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_compiled(dataset, values, message):
    with pytest.raises(SettingError, match=message):
        recipes.recipe("td3_bc").configure(dataset=dataset, **SMALL | {"online_steps": 8} | values)


def test_gradient_steps_follow_environment_steps_at_the_rate_that_is_asked_for():
    config = recipes.recipe("td3_bc").config(online_steps=100_000, num_envs=10, updates_per_online_step=0.5)
    assert (config.steps_per_update, config.unroll_length, config.online_updates) == (1000, 200, 50)
    assert config.num_updates == 1050 and config.asked_steps == 1_050_000
    (note,) = recipes.recipe("td3_bc").notes(config)
    assert "50,000 gradient steps follow 100,000 environment steps in rlx:pendulum; of each minibatch 50 %" in note
    config = recipes.recipe("td3_bc").config()
    assert config.num_envs_per_seed == 0 and config.asked_steps == config.total_steps
    assert recipes.recipe("td3_bc").notes(config) == []


@pytest.mark.parametrize(
    "total_steps, online_steps, reports, expected",
    [
        (1_000_000, 10_000, 20, (1010, 10)),  # else 1,050 updates, five times the steps online that are asked for
        (1_000_000, 200_000, 20, (1200, 50)),
        (7_000, 3_000, 20, (10, 1)),
        (1_000_000, 0, 300, (1002, 3)),
    ],
)
def test_reports_round_up_no_steps_online(total_steps, online_steps, reports, expected):
    config = recipes.recipe("td3_bc").config(total_steps=total_steps, online_steps=online_steps)
    plan = make_plan(config, Options(reports=reports), {}, None)
    assert (plan["num_updates"], plan["updates_per_report"]) == expected
    assert not online_steps or plan["num_updates"] == config.num_updates


def test_what_is_experienced_is_prepared_as_the_dataset_is(dataset):
    raw = data.read_dataset(dataset).dataset
    config = recipes.recipe("iql").configure(dataset=dataset, reward_scale=2.0, reward_shift=-1.0, online_steps=1000)
    assert config.reward_scaling == "return_range"
    loaded = offline.load(config)
    batch = data.sample(raw, jax.random.key(0), 16)
    prepared = online.as_row(loaded, batch)
    expected = data.sample(loaded.dataset, jax.random.key(0), 16)
    assert not np.allclose(expected.reward, batch.reward) and not np.allclose(expected.observation, batch.observation)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), prepared, expected)


def train(dataset, run_dir, *words):
    options = ["--hidden-sizes", "4", "--batch-size", "4", "--num-actions", "2", "--total-steps", "4"]
    options += ["--updates-per-step", "2", "--online-steps", "9", "--num-envs", "1", "--max-episode-steps", "3"]
    return cli.main(
        [
            *("train", "cal_ql", "--dataset", dataset, "--run-dir", str(run_dir), *options, "--eval-episodes", "1"),
            *("--reports", "7", "--evaluations", "1", "--checkpoints", "7", "--keep-checkpoints", "8", "--seeds", "2"),
            *("--no-rollout", "--no-report", *words),
        ]
    )


def test_a_run_is_resumed_bit_for_bit_while_it_acts(dataset, tmp_path, capsys):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert train(dataset, whole) == 0
    said = capsys.readouterr().out
    assert "10 gradient steps follow 10 environment steps in rlx:pendulum" in said and "rounded up" not in said
    table = MetricsTable.read(whole / "metrics.parquet")
    assert table["gradient_steps"][::2].tolist() == [2, 4, 6, 8, 10, 12, 14]
    assert table["online_steps"][::2].tolist() == [0, 0, 2, 4, 6, 8, 10]
    assert np.ma.getmaskarray(table["return_mean"])[::2].tolist() == [True] * 3 + [False] * 4
    shutil.copytree(whole, cut)
    for update in ("6", "7"):
        shutil.rmtree(cut / "checkpoints" / update)
    (cut / "summary.json").unlink()
    assert train(dataset, cut, "--resume") == 0
    hashes = [
        [run["params_sha256"] for run in json.loads((x / "summary.json").read_text())["runs"]] for x in (whole, cut)
    ]
    assert hashes[0] == hashes[1] and len(set(hashes[0])) == 2
    assert "resumed at update 5 of 7" in capsys.readouterr().out


def test_the_presets_of_antmaze_go_by_the_name_of_the_dataset():
    for name in ("cal_ql", "cql", "iql", "prdc"):
        recipe = recipes.recipe(name)
        for path in ("antmaze-medium-diverse-v2.hdf5", "data/D4RL/antmaze/medium-diverse-v1"):
            assert recipe.subject({"dataset": path}) == "antmaze"
        assert recipe.presets["antmaze"].source and recipe.config(**recipe.presets["antmaze"].overrides)
        default = recipe.configure(dataset="hopper.hdf5", env="brax:hopper")
        assert default == recipe.config(dataset="hopper.hdf5", env="brax:hopper")
    found = recipes.recipe("cal_ql").configure(dataset="antmaze-large-play-v2.hdf5", env="gym:AntMaze", weight=1.0)
    # scripts/run_antmaze.sh of nakamotoo/Cal-QL, with one value on top.
    assert (found.gap_target, found.weight, found.max_target_backup, found.mixing_ratio) == (0.8, 1.0, True, 0.5)
    assert (found.hidden_sizes, found.critic_sizes) == ((256,) * 2, (256,) * 4)
    assert (found.reward_scale, found.reward_shift, found.discount, found.num_actions) == (10.0, -5.0, 0.99, 10)
    assert (found.learning_rate, found.critic_learning_rate, found.initialization) == (1e-4, 3e-4, "orthogonal")
    assert not found.normalize_observation and not found.backup_entropy and found.total_steps == 1_000_000


def test_help_says_which_source_a_preset_follows(capsys):
    assert cli.main(["train", "iql", "--dataset", "antmaze-umaze-v2.hdf5", "--env", "rlx:pendulum", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "the preset for antmaze (configs/antmaze_config.py of ikostrikov/implicit_q_learning" in said
    assert "name another --dataset to see what suits it" in said


@pytest.mark.slow
def test_the_policy_of_iql_keeps_its_step_size_where_it_goes_on(dataset):
    """Adam's first step is as long as its step size, at the start of a cosine and without one, and then is not."""
    recipe = recipes.recipe("iql")

    def moved(**values):
        config = recipe.configure(dataset=dataset, **SMALL | {"total_steps": 4, "updates_per_step": 1} | values)
        program = recipes.make_program(recipe, config)

        @jax.jit
        def run(key):
            state, _ = jax.lax.scan(lambda state, _: (program.step(state)[0], None), program.init(key), length=3)
            after, _ = program.step(state)
            return jax.tree.leaves(
                jax.tree.map(lambda x, y: jnp.max(jnp.abs(x - y)), state.params, after.params)["actor"]
            )

        return max(run(jax.random.key(0)))

    assert moved(online_steps=4, num_envs=1) > 3 * moved()


@pytest.mark.slow
@pytest.mark.optimized
def test_experience_makes_a_policy_better_that_the_dataset_left_bad(tmp_path):
    """Of a thousand random steps not enough is learned to swing up; of four thousand of its own it is."""
    environment = envs.make("rlx:pendulum")
    made = collect(environment, uniform_actions(environment.action_space), jax.random.key(0), 1000)
    data.write_dataset(tmp_path / "random.hdf5", made, {"env": "rlx:pendulum"})
    recipe = recipes.recipe("cal_ql")
    config = recipe.configure(
        dataset=str(tmp_path / "random.hdf5"),
        total_steps=1000,
        updates_per_step=200,
        online_steps=4000,
        hidden_sizes=(64, 64),
        batch_size=128,
        num_actions=4,
        weight=1.0,
        reward_scale=0.1,
        learning_rate=1e-3,
        critic_learning_rate=1e-3,
        eval_episodes=8,
    )
    program = recipes.make_program(recipe, config)
    step, evaluate = jax.jit(program.step), jax.jit(program.evaluate)
    state, returns = jax.jit(program.init)(jax.random.key(0)), []
    for count in (config.pretraining_updates, config.online_updates):
        for _ in range(count):
            state, metrics = step(state)
        returns.append(float(evaluate(state, jax.random.key(1))["eval_return_mean"]))
    assert metrics["online_steps"] == 4000
    assert returns[1] > returns[0] + 500, returns


def test_experience_that_cannot_fit_is_refused_while_it_is_traced(dataset, monkeypatch):
    from rlx import memory as machine

    monkeypatch.setattr(machine, "of_devices", lambda devices: 2**34)
    recipe = recipes.recipe("td3_bc")
    config = recipe.configure(dataset=dataset, **SMALL | {"online_steps": 10**9})
    program = recipes.make_program(recipe, config, num_runs=1)
    with pytest.raises(SettingError, match="online_steps is too large at 1000000000"):
        jax.eval_shape(program.init, jax.random.key(0))
