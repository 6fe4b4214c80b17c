"""The wiring of PPO: every kind of environment trains, on the device and on the host, and so does a resumed run."""

import jax
import numpy as np
import pytest

import rlx
from rlx.recipes import ppo
from rlx.recipes.settings import hyperparameters
from rlx.recipes.wiring import make_build, make_program
from rlx.training.fit import fit
from rlx.training.program import make_train

TINY = dict(
    num_envs=4,
    unroll_length=8,
    num_minibatches=2,
    update_epochs=1,
    hidden_sizes=(8,),
    eval_episodes=2,
    max_eval_steps=10,
    max_episode_steps=6,
)


@pytest.mark.slow
@pytest.mark.parametrize("env", ["gymnax:FrozenLake-misc", "gymnax:Breakout-MinAtar", "gym:Blackjack-v1"])
def test_any_kind_of_observation_trains(env):
    """Networks see vectors, whatever the observations are."""
    train = rlx.make_train("ppo", env=env, total_steps=2 * 4 * 8, **TINY)
    state, metrics = jax.jit(train)(jax.random.key(0))
    assert metrics["policy_loss"].shape == (2,)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


@pytest.mark.parametrize("env", ["gym:Pendulum-v1", "gym:CartPole-v1"])
def test_environments_on_the_host_train_and_are_evaluated_for_many_seeds(env):
    config = ppo.Config(env=env, total_steps=2 * 4 * 8, **TINY)
    program = make_program(ppo.RECIPE, config)

    def run(key):
        state, _ = make_train(program, config.num_updates)(key)
        return state, program.evaluate(state, key)

    state, evaluation = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 2))
    assert np.asarray(state.update).tolist() == [2, 2]
    # Pendulum always runs into the limit of 6; no pole falls earlier than after 8 steps.
    np.testing.assert_array_equal(evaluation["eval_episode_length"], 6)
    np.testing.assert_array_equal(state.source.episodes.last_length, 6)
    if env == "gym:CartPole-v1":
        np.testing.assert_array_equal(evaluation["eval_return_mean"], 6)


@pytest.mark.slow
def test_a_run_on_the_host_resumes_with_new_episodes(tmp_path):
    config = ppo.Config(env="gym:Pendulum-v1", **TINY)

    def run(updates, **options):
        return fit(
            # Makes the environment anew, as another process would.
            make_build(ppo.RECIPE, config, updates),
            seeds=range(2),
            hyperparameters={name: [value] * 2 for name, value in hyperparameters(config).items()},
            num_envs=config.num_envs,
            steps_per_update=config.steps_per_update,
            num_updates=updates,
            updates_per_report=1,
            run_dir=tmp_path,
            quiet=True,
            **options,
        )

    first = run(2)
    resumed = run(3, resume=True, allow_changes=True)
    assert resumed.resumed_from == 2
    # After 16 steps each environment was 4 steps into its third episode. The first step after the resumption
    # ends that, and another episode fits into the other seven.
    np.testing.assert_array_equal(first.state.source.episodes.finished, 2)
    np.testing.assert_array_equal(resumed.state.source.episodes.finished, 4)
    np.testing.assert_array_equal(resumed.state.source.environment.elapsed, 1)
    assert np.isfinite(resumed.metrics["eval_return_mean"].astype(float)).all()


def test_more_environments_than_the_preset_has_are_told_what_they_cost():
    """8,192 environments would otherwise learn 16 times in a run where 2,048 learn 62 times, without a word."""
    found = ppo.RECIPE.configure(env="playground:CheetahRun", num_envs=8192)
    (note,) = ppo.notes(found)
    assert "--num-envs 8192 makes 15 updates" in note and "2048 environments make 61" in note
    assert "--unroll-length 120" in note
    assert ppo.notes(ppo.RECIPE.configure(env="playground:CheetahRun")) == []
    assert ppo.notes(ppo.RECIPE.configure(env="playground:CheetahRun", num_envs=8192, unroll_length=120)) == []
