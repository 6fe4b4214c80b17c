"""SAC and TD3 learn, from presets that are what their sources say, and by the command line."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from rlx import cli, envs, recipes
from rlx.training.metrics import MetricsTable
from rlx.training.program import make_train

pytestmark = pytest.mark.long(minutes=1)

RECIPES = {name: recipes.recipe(name) for name in ("sac", "td3")}
SEEDS = 2


@pytest.mark.slow
@pytest.mark.optimized
@pytest.mark.parametrize("name", RECIPES)
def test_the_pendulum_is_swung_up(name):
    """Measured after 8000 steps: −125 to −156 for each of 8 seeds; one that never swings up gets about −1200."""
    config = RECIPES[name].configure(env="gymnax:Pendulum-v1", total_steps=8000, eval_episodes=32)
    program = recipes.make_program(RECIPES[name], config)

    def run(seed):
        train_key, eval_key = jax.random.split(jax.random.key(seed))
        state, _ = make_train(program, config.num_updates)(train_key)
        return program.evaluate(state, eval_key)

    evaluation = jax.device_get(jax.jit(jax.vmap(run))(np.arange(SEEDS)))
    assert np.median(evaluation["eval_return_mean"]) >= -180, evaluation
    assert np.min(evaluation["eval_return_mean"]) >= -250, evaluation
    assert np.median(evaluation["eval_stochastic_return_mean"]) >= -220, evaluation


@pytest.mark.parametrize("name", RECIPES)
def test_presets_build_and_have_a_source(name):
    recipe = RECIPES[name]
    known = {field.name for field in dataclasses.fields(recipe.config)}
    tasks = [env for env in recipe.presets if ":" in env]
    assert recipe.config().env in tasks and set(tasks) <= set(envs.names())
    suites = {suite: sorted(envs.names(suite))[0] for suite in envs.suites()}
    for env in [*tasks, *suites.values()]:
        preset = recipe.preset(env)
        assert preset.source and set(preset.overrides) <= known, env
        config = recipe.configure(env=env)
        assert config.num_updates > 0 and config.buffer_size >= config.initial_steps, env
        assert config.updates_per_step % getattr(config, "policy_delay", 1) == 0, env
    config = recipe.configure(env="rlx:pendulum")
    state = jax.eval_shape(recipes.make_program(recipe, config).init, jax.random.key(0))
    assert state.source.acting.observation.shape == (config.num_envs, 3)


def test_brax_hopper_matches_the_published_arguments():
    config = RECIPES["sac"].configure(env="brax:hopper")
    assert (config.num_envs, config.batch_size, config.updates_per_step) == (128, 512, 64)
    assert (config.discount, config.learning_rate, config.reward_scale) == (0.997, 6e-4, 30)
    assert config.normalize_observation
    assert config.initial_steps == 8192 and config.initial_steps + config.num_updates * 128 == 6_553_600


@pytest.mark.parametrize(
    "env", ["DmTask", *(name for name in RECIPES["sac"].presets if name.startswith("playground:"))]
)
def test_playground_presets_match_playgrounds_own_table(env):
    params = pytest.importorskip("mujoco_playground.config.dm_control_suite_params")
    task = "CartpoleBalance" if env == "DmTask" else env.partition(":")[2]
    published = params.brax_sac_config(task, "jax")
    config = RECIPES["sac"].configure(env=f"playground:{task}")
    assert {
        "total_steps": published.num_timesteps // published.action_repeat,
        "num_envs": published.num_envs,
        "batch_size": published.batch_size,
        "updates_per_step": published.grad_updates_per_step,
        "buffer_size": published.max_replay_size,
        "warmup_steps": published.min_replay_size,
        "discount": published.discounting,
        "learning_rate": published.learning_rate,
        "reward_scale": published.reward_scaling,
        "critic_layer_norm": "after" if published.network_factory.q_network_layer_norm else "none",
        "normalize_observation": published.normalize_observations,
        "action_repeat": published.action_repeat,
    }.items() <= dataclasses.asdict(config).items()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sac", "td3"])
def test_a_sweep_runs_resumes_and_leaves_a_folder(name, tmp_path, capsys):
    command = [
        *("train", name, "--env", "rlx:pendulum", "--seeds", "2", "--sweep", "tau=0.005,0.05"),
        *("--num-envs", "2", "--updates-per-step", "2", "--hidden-sizes", "8", "--batch-size", "8"),
        *("--buffer-size", "200", "--warmup-steps", "20", "--total-steps", "60", "--max-episode-steps", "10"),
        *("--eval-episodes", "2", "--reports", "4", "--checkpoints", "4", "--no-rollout"),
    ]
    path = tmp_path / "run"
    plain = name == "sac"
    options = [] if plain else ["--no-report", "--normalize-observation"]
    assert cli.main([*command, *options, "--run-dir", str(path)]) == 0
    assert f"{name.upper()} on rlx:pendulum: 2 seeds × 2 settings × 60 steps" in capsys.readouterr().out
    table = MetricsTable.read(path / "metrics.parquet")
    np.testing.assert_array_equal(table["env_steps"], np.repeat([30, 40, 50, 60], 4))
    assert (path / "report.html").exists() == (path / "curve.png").exists() == plain

    (resumed := tmp_path / "again").mkdir()
    shutil.copytree(path, resumed, dirs_exist_ok=True)
    newest = max((resumed / "checkpoints").glob("[0-9]*"), key=lambda step: int(step.name))
    shutil.rmtree(newest)
    (resumed / "summary.json").unlink()
    assert cli.main(["train", name, "--resume", "--no-rollout", "--no-report", "--run-dir", str(resumed)]) == 0
    hashes = [
        [run["params_sha256"] for run in json.loads((folder / "summary.json").read_text())["runs"]]
        for folder in (path, resumed)
    ]
    assert hashes[0] == hashes[1] and len(set(hashes[0])) == 4


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--env", "gymnax:CartPole-v1"), "action_space must be a Box"),
        (("--updates-per-step", "3"), "multiple of the 2 gradient steps"),
        (("--sweep", "batch_size=1,2"), "batch_size cannot be swept"),
        (("--batch-size", "0"), "--batch-size must be in [1, inf), got 0"),
    ],
)
def test_errors_are_one_line(arguments, message, tmp_path, capsys):
    code = cli.main(["train", "td3", *arguments, "--run-dir", str(tmp_path / "run")])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code != 0 and error.startswith("rlx: error:") and message in error
