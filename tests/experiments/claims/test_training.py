"""The laboratory's loop: its gradient is the policy gradient, and GRPO learns in it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.claims import problems, training
from rlx import returns


def test_one_step_of_the_loop_is_a_step_of_policy_gradient():
    """With one inner step ratios are 1, so plain descent moves the table by the advantages' policy gradient."""
    problem = problems.language(3, 2, num_solutions=1, num_prompts=2, confidence=1.0)
    method = training.TabularMethod(optimizer=optax.sgd)
    train = training.make_train(problem, method, num_updates=1, group=64, inner_steps=1)
    curves = train(jax.random.key(3), 0.5)
    # The rollout of the first update, drawn as the loop draws it.
    key = jax.random.split(jax.random.key(3), 1)[0]
    rollout = problems.sample(problem, problem.logits, jax.random.split(key, 3)[0], 64)
    advantage = np.asarray(returns.group_relative(rollout.reward), np.float64)
    policy = np.asarray(jax.nn.softmax(problem.logits), np.float64)
    gradient = np.zeros(problem.logits.shape)
    state, token = np.asarray(rollout.state), np.asarray(rollout.token)
    for prompt, member, time in np.ndindex(*state.shape):
        s, a = state[prompt, member, time], token[prompt, member, time]
        gradient[s] += advantage[prompt, member] * (np.eye(3)[a] - policy[s]) / state.size
    np.testing.assert_allclose(curves["gradient_norm"][0], np.linalg.norm(gradient), rtol=1e-4)
    np.testing.assert_allclose(curves["sampled_reward"][0], rollout.reward.mean(), rtol=1e-6)


def test_grpo_solves_a_bandit_and_seeds_differ():
    problem = problems.bandit(np.array([[0.0, 0.3, 1.0, 0.2]] * 2))
    train = training.make_train(problem, training.TabularMethod(), num_updates=60)
    curves = jax.jit(jax.vmap(lambda key: train(key, 0.1)))(jax.random.split(jax.random.key(0), 4))
    assert (np.asarray(curves["success"])[:, -1] > 0.95).all()
    assert (np.asarray(curves["entropy"])[:, -1] < np.asarray(curves["entropy"])[:, 0]).all()
    assert len(np.unique(np.asarray(curves["gradient_norm"])[:, 0])) == 4


def test_staleness_samples_with_an_old_policy():
    problem = problems.bandit(np.array([[0.0, 1.0]]))
    behind = lambda batch, logits: {"behind": jnp.abs(batch.behavior_logits[0, 0, 0] - logits[0]).max()}
    curves = {}
    for staleness in (0, 3):
        train = training.make_train(
            problem, training.TabularMethod(), num_updates=5, inner_steps=1, staleness=staleness, measures=behind
        )
        curves[staleness] = np.asarray(jax.jit(train)(jax.random.key(0), 0.1)["behind"])
    # Adam's first steps are of the size of the learning rate, so distance counts the updates in between.
    np.testing.assert_allclose(curves[0], 0.1, rtol=0.15)
    np.testing.assert_allclose(curves[3], 0.1 * np.minimum(np.arange(5) + 1, 4), rtol=0.15)


def test_tuning_takes_the_best_rate_and_other_seeds():
    def train(key, rate):
        return {"success": jnp.full(30, -jnp.abs(rate - 0.1)) + 1e-3 * jax.random.uniform(key)}

    tuned = training.tune_and_train(train, num_seeds=8, learning_rates=(0.01, 0.1, 0.3))
    assert tuned.learning_rate == 0.1
    assert tuned.curves["success"].shape == (8, 30)
    assert len(np.unique(tuned.curves["success"][:, 0])) == 8


def test_tuning_goes_on_beyond_the_rates_it_begins_with():
    def train(key, rate):
        return {"success": jnp.full(30, -jnp.abs(jnp.log10(rate) + 3)) + 1e-3 * jax.random.uniform(key)}

    assert training.tune_and_train(train, num_seeds=8).learning_rate == 1e-3


def test_numbers_are_tuned_together_with_the_rate():
    def train(key, rate, numbers):
        distance = jnp.abs(jnp.log10(rate / 0.3)) + jnp.abs(jnp.log2(numbers["bound"] / 16))
        return {"success": jnp.full(30, -distance) + 1e-3 * jax.random.uniform(key)}

    numbers = {"bound": training.Choices((1.0, 2.0, 4.0), (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0))}
    tuned = training.tune_and_train(train, num_seeds=8, numbers=numbers)
    assert tuned.learning_rate == 0.3 and tuned.numbers == {"bound": 16.0}
    # Among the seeds of the comparison are none that anything was chosen by.
    assert tuned.curves["success"].shape == (8, 30)
    np.testing.assert_allclose(tuned.curves["success"].mean(), 0, atol=1e-3)
