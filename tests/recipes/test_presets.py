"""Presets build, divide evenly, and say in our fields what their sources say in theirs."""

import dataclasses

import jax
import pytest

from rlx import envs, recipes
from rlx.recipes.wiring import make_program

pytestmark = pytest.mark.long(minutes=0.3)

PPO = recipes.recipe("ppo")
FIELDS = {field.name for field in dataclasses.fields(PPO.config)}
TASKS = [name for name in PPO.presets if ":" in name]


def _config(env: str):
    return PPO.configure(env=env)


# One environment of each suite; to make all of them takes minutes.
FEW = {"brax:ant", "playground:CartpoleBalance", *(env for env in TASKS if not env.startswith(("brax", "playground")))}
PRESETS = [env if env in FEW else pytest.param(env, marks=pytest.mark.slow) for env in TASKS]


@pytest.mark.slow
@pytest.mark.parametrize("env", PRESETS)
def test_preset_builds(env):
    if env.startswith("playground:"):
        pytest.importorskip("mujoco_playground")
    config = _config(env)
    assert config.steps_per_update % config.num_minibatches == 0
    state = jax.eval_shape(make_program(PPO, config).init, jax.random.key(0))
    assert jax.tree.leaves(state.source.observation)[0].shape[0] == config.num_envs


def test_names_are_environments_with_known_fields_and_a_source():
    assert set(TASKS) <= set(envs.names()) and set(PPO.presets) - set(TASKS) <= set(envs.suites())
    for env, preset in PPO.presets.items():
        assert set(preset.overrides) <= FIELDS, env
        assert preset.source, env


def test_default_environment_has_a_preset():
    assert PPO.config().env in TASKS


@pytest.mark.parametrize("suite", envs.suites())
def test_an_environment_without_its_own_preset_gets_its_suites(suite):
    (env, *_) = sorted(set(envs.names(suite)) - set(TASKS))
    assert PPO.preset(env).overrides
    config = _config(env)
    assert config.steps_per_update % config.num_minibatches == 0


def test_nothing_is_preset_where_nothing_is_known():
    assert PPO.preset("elsewhere:task") is None
    assert PPO.configure(env="elsewhere:task") == PPO.config(env="elsewhere:task")
    with pytest.raises(recipes.UnknownAlgorithm, match="no algorithm 'pp0'; did you mean ppo"):
        recipes.recipe("pp0")


def test_brax_ant_matches_the_published_arguments():
    config = _config("brax:ant")
    # batch_size=2048, num_minibatches=32, unroll_length=5 of Brax's trainer.
    assert config.steps_per_update == 2048 * 32 * 5
    assert config.steps_per_update // config.num_minibatches == 2048 * 5
    assert (config.num_envs, config.update_epochs, config.total_steps) == (4096, 4, 50_000_000)
    assert (config.discount, config.learning_rate, config.reward_scale) == (0.97, 3e-4, 10.0)


def test_brax_reacher_counts_decisions():
    config = _config("brax:reacher")
    assert config.total_steps * config.action_repeat == 50_000_000
    assert config.max_episode_steps * config.action_repeat == 1000
    assert config.steps_per_update == 256 * 32 * 50


@pytest.mark.parametrize("env", [name for name in TASKS if name.startswith("playground:")])
def test_playground_presets_match_playgrounds_own_table(env):
    params = pytest.importorskip("mujoco_playground.config.dm_control_suite_params")
    task = env.partition(":")[2]
    published = params.brax_ppo_config(task, "jax")
    config = _config(env)
    sequences = published.batch_size * published.num_minibatches
    assert config.steps_per_update == sequences * published.unroll_length
    assert config.total_steps * config.action_repeat == published.num_timesteps
    assert {
        "num_envs": published.num_envs,
        "num_minibatches": published.num_minibatches,
        "update_epochs": published.num_updates_per_batch,
        "discount": published.discounting,
        "learning_rate": published.learning_rate,
        "entropy_coefficient": published.entropy_cost,
        "reward_scale": published.reward_scaling,
        "normalize_observation": published.normalize_observations,
        "action_repeat": published.action_repeat,
    }.items() <= dataclasses.asdict(config).items()


def test_configure_takes_the_preset_and_the_overrides():
    config = PPO.configure(env="rlx:pendulum", learning_rate=0.5)
    assert config.env == "rlx:pendulum" and config.learning_rate == 0.5
    assert config.total_steps == PPO.presets["rlx:pendulum"].overrides["total_steps"]
