import jax
import jax.numpy as jnp
import numpy as np

from rlx import diagnostics

advantage_covariance = jax.jit(diagnostics.advantage_covariance)


def test_oracle() -> None:
    log_prob = jnp.array([[-0.1, -2.0, -0.5], [-1.0, -0.3, -jnp.inf]])
    where = jnp.array([[True, True, True], [True, True, False]])
    covariance = advantage_covariance(log_prob, jnp.array([[1.0], [-1.0]]), where=where)
    np.testing.assert_allclose(covariance, [[0.544, -0.976, 0.224], [0.264, -0.576, 0]], atol=1e-6)


def test_a_constant_advantage_has_none_and_a_shifted_one_the_same(rng) -> None:
    log_prob, advantage = map(jnp.asarray, rng.normal(size=(2, 4, 7)))
    np.testing.assert_allclose(advantage_covariance(log_prob, jnp.full((4, 1), 0.3)), 0, atol=1e-6)
    expected = advantage_covariance(log_prob, advantage)
    np.testing.assert_allclose(advantage_covariance(log_prob, advantage + 2), expected, atol=1e-5)
    np.testing.assert_allclose(expected.mean(), np.cov(log_prob.ravel(), advantage.ravel(), ddof=0)[0, 1], rtol=1e-5)


def test_predicts_the_change_of_entropy(rng, float64) -> None:
    """The claim it is made for, exact to first order on a softmax, with expectations by enumeration."""
    logits, advantage, step = jnp.asarray(rng.normal(size=5)), jnp.asarray(rng.normal(size=5)), 1e-5
    probability, log_prob = jax.nn.softmax(logits), jax.nn.log_softmax(logits)
    entropy = lambda logits: -jnp.sum(jax.nn.softmax(logits) * jax.nn.log_softmax(logits))
    # A sample in which each action occurs as often as the policy takes it.
    count = np.round(np.asarray(probability) * 20000).astype(int)
    taken = jnp.asarray(np.repeat(np.arange(5), count))
    covariance = advantage_covariance(log_prob[taken], advantage[taken]).mean()
    change = entropy(logits + step * advantage) - entropy(logits)  # a natural policy-gradient step
    np.testing.assert_allclose(change, -step * covariance, rtol=1e-3)
    weighted = probability * (advantage - probability @ advantage)
    change = entropy(logits + step * weighted) - entropy(logits)  # a plain one
    np.testing.assert_allclose(change, -step * advantage_covariance(log_prob[taken], weighted[taken]).mean(), rtol=1e-3)
