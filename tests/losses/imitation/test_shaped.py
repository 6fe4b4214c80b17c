import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses import imitation

shaped_cross_entropy = jax.jit(imitation.shaped_cross_entropy, static_argnames="top_k")
LOGITS = jnp.array([2, 1, 0.5, 0, -1])
ACTION = jnp.array(1)
PLAIN = {"positive_exponent": 0.0, "top_k": 2}


def slope(logits, action, **options):
    return jax.jit(jax.grad(lambda logits: shaped_cross_entropy(logits, action, **options).sum()))(logits)


def test_oracle() -> None:
    options = {"head_reward": 0.1, "tail_reward": -0.1, "top_k": 2}
    np.testing.assert_allclose(shaped_cross_entropy(LOGITS, ACTION, **options), 1.635176, rtol=1e-6)
    expected = [0.559111, -0.833341, 0.14988, 0.090907, 0.033443]
    np.testing.assert_allclose(slope(LOGITS, ACTION, **options), expected, rtol=1e-5)
    np.testing.assert_allclose(shaped_cross_entropy(LOGITS, ACTION, **PLAIN), 1.574438, rtol=1e-6)
    expected = [0.563021, -0.792876, 0.125627, 0.076197, 0.028031]
    np.testing.assert_allclose(slope(LOGITS, ACTION, **PLAIN), expected, rtol=2e-5)


@pytest.mark.parametrize("exponent", [-0.25, 0.5])
def test_the_gradient_is_the_policy_gradient_of_the_rewards(rng, float64, exponent) -> None:
    """Equations 10 to 13: minus the sum over the vocabulary of π·reward·∇log π, written out."""
    logits, action, k = 2 * rng.normal(size=(6, 9)), rng.integers(0, 9, 6), 3
    where = np.array([True, True, False, True, True, True])
    expected = np.zeros((6, 9))
    for i in np.flatnonzero(where):
        p = np.exp(logits[i]) / np.exp(logits[i]).sum()
        reward = np.where(np.isin(np.arange(9), np.argsort(-p)[:k]), 0.3, -0.2)
        reward[action[i]] = (1 - p[action[i]]) ** exponent / p[action[i]]
        for a in range(9):
            expected[i] -= p[a] * reward[a] * ((np.arange(9) == a) - p)
    poisoned = jnp.asarray(np.where(where[:, None], logits, np.nan))
    tokens = jnp.asarray(np.where(where, action, -100))
    options = {"positive_exponent": exponent, "head_reward": 0.3, "tail_reward": -0.2, "top_k": k}
    gradient = slope(poisoned, tokens, where=jnp.asarray(where), **options)
    np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(gradient.sum(-1), 0, atol=1e-13)
    assert shaped_cross_entropy(poisoned, tokens, where=jnp.asarray(where), **options)[2] == 0


def test_limits(rng, float64) -> None:
    logits, action = jnp.asarray(rng.normal(size=(4, 7))), jnp.array([0, 3, 6, 3])
    rows, log_probs = jnp.arange(4), jax.nn.log_softmax(logits)
    cross_entropy = -log_probs[rows, action]
    np.testing.assert_allclose(shaped_cross_entropy(logits, action, **PLAIN), cross_entropy, rtol=1e-12)
    alike = shaped_cross_entropy(logits, action, **PLAIN, head_reward=0.4, tail_reward=0.4)
    np.testing.assert_allclose(alike, cross_entropy - 0.4 * (1 - jnp.exp(-cross_entropy)), rtol=1e-12)
    no_tail = {**PLAIN, "top_k": 100}
    np.testing.assert_allclose(shaped_cross_entropy(logits, action, **no_tail, tail_reward=9.0), cross_entropy)


def test_certain_tokens_have_finite_losses() -> None:
    logits = jnp.array([[200.0, 0, 0], [0, 200, 0], [0, -jnp.inf, 1]]).repeat(2, 0)
    action, options = jnp.array([0, 2] * 3), {"head_reward": 0.1, "top_k": 2}
    assert np.all(np.isfinite(shaped_cross_entropy(logits, action, **options)))
    assert np.all(np.isfinite(slope(logits, action, **options)))
