"""The wiring of PPO: every kind of environment trains, on the device and on the host, and so does a resumed run."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rlx
from rlx import recipes
from rlx.recipes import ppo
from rlx.recipes.settings import SettingError, hyperparameters
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


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 3 / 4, 2 / 4, 1 / 4]),
        ("cosine", (1 + np.cos(np.pi * np.arange(4) / 4)) / 2),
        ("kl_adaptive", [1, 1, 1, 1]),  # by itself the optimizer leaves it alone
    ],
)
@pytest.mark.parametrize("traced", [False, True])
def test_schedules_count_the_gradient_steps_of_the_run(schedule, expected, traced):
    """Two updates of one epoch of two minibatches are four steps; a rate may be traced, as in a sweep."""

    def rates(rate):
        config = ppo.Config(learning_rate=rate, learning_rate_schedule=schedule, num_minibatches=2, update_epochs=1)
        optimizer, found = ppo.make_optimizer(config, num_updates=2), []
        params = {"w": jnp.ones(3)}
        state = optimizer.init(params)
        for _ in range(4):
            _, state = optimizer.update(params, state, params)
            number = lambda _, value: hasattr(value, "dtype")
            found.append(optax.tree.get(state, "learning_rate", filtering=number))
        return jnp.stack(found)

    found = jax.jit(rates)(0.5) if traced else rates(0.5)
    np.testing.assert_allclose(found, 0.5 * np.asarray(expected), rtol=1e-6)


@pytest.mark.parametrize("name", ["ppo", pytest.param("recurrent_ppo", marks=pytest.mark.slow)])
def test_the_adaptive_learning_rate_is_swept_and_goes_on_where_it_was(name):
    """A KL that is never reached raises the rate, one that always is lowers it, side by side in one program."""
    options = TINY | dict(learning_rate_schedule="kl_adaptive", env="rlx:pendulum", update_epochs=2)

    def program(rate, desired_kl):
        config = recipes.recipe(name).configure(learning_rate=rate, desired_kl=desired_kl, **options)
        return make_program(recipes.recipe(name), config)

    @jax.jit
    @jax.vmap
    def run(rate, desired_kl):
        state, first = program(rate, desired_kl).step(program(rate, desired_kl).init(jax.random.key(0)))
        # All that the rate remembers is in the state: a program that began with another one goes on alike.
        _, second = program(0.7, desired_kl).step(state)
        return jnp.stack([first["learning_rate"], second["learning_rate"]])

    # Of four gradient steps of an update, the rate moves before all but the first.
    expected = [[1e-4 * 1.5**3, 1e-4 * 1.5**6], [1e-3 / 1.5**3, 1e-3 / 1.5**6]]
    np.testing.assert_allclose(run(jnp.array([1e-4, 1e-3]), jnp.array([10.0, 1e-12])), expected, rtol=1e-5)


def test_one_gradient_step_of_an_update_cannot_adapt_its_rate():
    with pytest.raises(SettingError, match="learning_rate_schedule cannot be 'kl_adaptive' where an update takes one"):
        ppo.Config(learning_rate_schedule="kl_adaptive", update_epochs=1, num_minibatches=1)


def test_more_environments_than_the_preset_has_are_told_what_they_cost():
    """8,192 environments would otherwise learn 16 times in a run where 2,048 learn 62 times, without a word."""
    found = ppo.RECIPE.configure(env="playground:CheetahRun", num_envs=8192)
    (note,) = ppo.notes(found)
    assert "--num-envs 8192 makes 15 updates" in note and "2048 environments make 61" in note
    assert "--unroll-length 120" in note
    assert ppo.notes(ppo.RECIPE.configure(env="playground:CheetahRun")) == []
    assert ppo.notes(ppo.RECIPE.configure(env="playground:CheetahRun", num_envs=8192, unroll_length=120)) == []
