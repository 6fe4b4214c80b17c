"""What is called exact of a tabular policy equals enumeration over all sequences."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.claims import problems

PROBLEMS = {
    "bandit": problems.bandit(np.array([[0.2, 0.0, 1.0], [0.5, 0.4, 0.1]])),
    "password": problems.password_tree(4, num_prompts=2),
    "language": problems.language(3, 4, num_solutions=2, num_prompts=2, confidence=1.0, likelihood=1.0),
}


def enumerate_policy(problem, logits):
    """Success, entropy of a token and probability of each solution, by a loop over all sequences."""
    log_policy = np.asarray(jax.nn.log_softmax(logits), np.float64)
    table, vocabulary = np.asarray(problem.next_state), logits.shape[-1]
    success, entropy, hit = [], [], []
    for prompt, start in enumerate(np.asarray(problem.start)):
        rewards = {
            tuple(s): r for s, r in zip(np.asarray(problem.solutions)[prompt], np.asarray(problem.reward)[prompt])
        }
        expected = total = reached = 0.0
        for sequence in itertools.product(range(vocabulary), repeat=problem.horizon):
            state, log_prob, surprise = start, 0.0, 0.0
            for token in sequence:
                log_prob += log_policy[state, token]
                surprise -= log_policy[state, token]
                state = table[state, token]
            expected += np.exp(log_prob) * rewards.get(sequence, 0.0)
            reached += np.exp(log_prob) * (rewards.get(sequence, 0.0) > 0)
            # The entropy of a sequence is its expected surprise, which is the sum of its tokens' entropies.
            total += np.exp(log_prob) * surprise
        success.append(expected), entropy.append(total / problem.horizon), hit.append(reached)
    return np.mean(success), np.mean(entropy), np.mean(1 - (1 - np.array(hit)) ** 8)


@pytest.mark.parametrize("name", PROBLEMS)
def test_exact_measures_equal_enumeration(name):
    problem = PROBLEMS[name]
    logits = problem.logits + jax.random.normal(jax.random.key(0), problem.logits.shape)
    measures = problems.evaluate(problem, logits)
    success, entropy, pass_at_8 = enumerate_policy(problem, logits)
    np.testing.assert_allclose(measures["success"], success, rtol=1e-5)
    np.testing.assert_allclose(measures["entropy"], entropy, rtol=1e-5)
    np.testing.assert_allclose(measures["pass_at_8"], pass_at_8, rtol=1e-4)


@pytest.mark.parametrize("name", PROBLEMS)
def test_samples_follow_the_policy_and_are_verified(name):
    problem = PROBLEMS[name]
    logits = problem.logits + jax.random.normal(jax.random.key(1), problem.logits.shape)
    rollout = problems.sample(problem, logits, jax.random.key(2), 20_000)
    success = problems.evaluate(problem, logits)["success"]
    np.testing.assert_allclose(rollout.reward.mean(), success, atol=4 * 0.5 / np.sqrt(20_000))
    np.testing.assert_array_equal(rollout.state[:, :, 0], np.broadcast_to(problem.start[:, None], (2, 20_000)))
    follows = problem.next_state[rollout.state[..., :-1], rollout.token[..., :-1]]
    np.testing.assert_array_equal(rollout.state[..., 1:], follows)


def test_a_password_is_found_by_no_other_path():
    problem = problems.password_tree(8)
    sequences = jnp.array(list(itertools.product((0, 1), repeat=8)))[None]
    np.testing.assert_array_equal(problems.verify(problem, sequences).sum(), 1)
    np.testing.assert_allclose(problems.evaluate(problem, problem.logits)["success"], 2.0**-8, rtol=1e-5)
