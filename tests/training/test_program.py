"""The pure loop: what a rollout holds, what episodes and evaluations report, and that batches equal single runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.training.program import make_train
from tests.training.toy import LIMIT, Toy, make_program


@pytest.fixture(scope="module")
def trained():
    train = make_train(make_program(), 6)
    keys = jax.random.split(jax.random.key(0), 3)
    return train, keys, jax.jit(jax.vmap(train))(keys)


def test_metrics_have_a_row_per_update_and_params_are_at_hand(trained):
    _, _, (state, metrics) = trained
    assert set(state.params) == {"torso", "policy", "critic"}
    for name in ("return_mean", "episode_length", "policy_loss", "value_loss", "approximate_kl", "learning_rate"):
        assert metrics[name].shape == (3, 6), name
    np.testing.assert_array_equal(state.update, [6, 6, 6])


def test_episode_statistics_are_of_finished_episodes(trained):
    _, _, (_, metrics) = trained
    # Four steps per update and five per episode: none has finished after the first update.
    assert np.isnan(metrics["return_mean"][:, 0]).all()
    np.testing.assert_array_equal(metrics["episode_length"][:, 1:], LIMIT)
    np.testing.assert_array_equal(metrics["episodes"][0], np.array([0, 1, 2, 3, 4, 4]) * 8)
    assert (np.abs(metrics["return_mean"][:, 1:]) <= LIMIT).all()


def test_a_seed_of_a_batch_equals_the_seed_alone(trained):
    train, keys, (state, _) = trained
    alone, _ = jax.jit(train)(keys[1])
    for many, one in zip(jax.tree.leaves(state.params), jax.tree.leaves(alone.params)):
        np.testing.assert_allclose(many[1], one, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_the_reward_is_learned(trained):
    _, _, (_, before) = trained
    program = make_program({"learning_rate": 3e-2}, num_envs=16, unroll_length=10, epochs=4)
    state, metrics = jax.jit(make_train(program, 40))(jax.random.key(0))
    assert metrics["return_mean"][-1] > 0.7 * LIMIT > before["return_mean"][0, 1]
    evaluation = jax.jit(program.evaluate)(state, jax.random.key(1))
    assert evaluation["eval_return_mean"] > 0.9 * LIMIT
    assert evaluation["eval_return_mean"] >= evaluation["eval_stochastic_return_mean"]
    assert evaluation["eval_episode_length"] == LIMIT


def test_evaluation_counts_the_first_episode_only_and_stops_there():
    class Constant(Toy):
        max_episode_steps = 1000

        def step(self, state, action, key):
            state, out = super().step(state, action, key)
            return state, out._replace(reward=jnp.float32(2.0))

    program = make_program(environment=Constant())
    metrics = jax.jit(lambda key: program.evaluate(program.init(key), key))(jax.random.key(0))
    assert metrics["eval_return_mean"] == metrics["eval_stochastic_return_mean"] == 2 * LIMIT
    assert metrics["eval_return_std"] == 0


def test_an_evaluation_on_the_host_has_the_same_result():
    """There it takes all steps of the limit, and those after the first episode do not count."""

    class Longer(Toy):
        max_episode_steps = 2 * LIMIT

    class LongerOnHost(Longer):
        host = True

    def evaluate(environment):
        program = make_program(environment=environment)
        return jax.vmap(lambda key: program.evaluate(program.init(key), key))

    keys = jax.random.split(jax.random.key(0), 2)
    on_device, on_host = evaluate(Longer()), evaluate(LongerOnHost())
    jax.tree.map(np.testing.assert_array_equal, jax.jit(on_device)(keys), jax.jit(on_host)(keys))
    assert " while[" in str(jax.make_jaxpr(on_device)(keys))
    assert " while[" not in str(jax.make_jaxpr(on_host)(keys))


@pytest.mark.slow
def test_the_advantage_estimator_is_told_where_time_ran_out():
    """Its `truncation` is True at the last step of each episode, and bootstraps come from before the reset."""
    observations = []
    noted = lambda reward, discount, value, next_value, *, lambda_, truncation: (
        jax.debug.callback(lambda *x: observations.append(x), truncation, value, next_value),
        jnp.zeros_like(reward),
    )[1]
    program = make_program(advantage_estimator=noted, unroll_length=LIMIT + 1)
    jax.block_until_ready(jax.jit(program.step)(program.init(jax.random.key(0))))
    ((truncation, value, next_value),) = observations
    np.testing.assert_array_equal(truncation, np.arange(LIMIT + 1)[:, None].repeat(8, 1) == LIMIT - 1)
    # Within an episode the next value is that of the next row; where it was cut, that row is another episode.
    np.testing.assert_array_equal(next_value[: LIMIT - 1], value[1:LIMIT])
    assert (next_value[LIMIT - 1] != value[LIMIT]).all()


def test_an_evaluation_needs_a_limit():
    class Endless(Toy):
        max_episode_steps = None

    with pytest.raises(ValueError, match="max_eval_steps"):
        make_program(environment=Endless())


@pytest.mark.parametrize("name", ["num_envs", "unroll_length"])
def test_counts_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        make_program(**{name: 0})
