"""Rewards per token and the way from them to Text2Grad's advantages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.regularizers.divergence import kl_estimate
from rlx.returns import gae, group_relative
from rlx.rewards import kl_shaped, span_to_token


def test_span_oracle() -> None:
    reward = span_to_token(jnp.array([1.0, -1.0]), jnp.array([2, 5]), jnp.array([4, 6]), length=8)
    np.testing.assert_allclose(reward, [0, 0, 1, 1, 0, -1, 0, 0])


def test_spans_equal_a_loop(rng) -> None:
    score = rng.normal(size=(3, 5)).astype(np.float32)
    start, width = rng.integers(0, 9, (3, 5)), rng.integers(0, 4, (3, 5))
    end, expected = np.minimum(start + width, 9), np.zeros((3, 9))
    for row, span in np.ndindex(3, 5):
        expected[row, start[row, span] : end[row, span]] += score[row, span]
    arrays = jnp.asarray(score), jnp.asarray(start), jnp.asarray(end)
    reward = span_to_token(*arrays, length=9)
    np.testing.assert_allclose(reward, expected, atol=1e-6)
    assert not np.any(np.asarray(reward)[expected == 0])  # exactly, also behind a span
    np.testing.assert_allclose(reward.sum(-1), (score * (end - start)).sum(-1), rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda score: span_to_token(score, *arrays[1:], length=9).sum())(arrays[0])
    np.testing.assert_allclose(gradient, end - start)


def test_unused_and_overlong_spans() -> None:
    score, start, end = jnp.array([jnp.nan, 0.5]), jnp.array([0, -3]), jnp.array([0, 99])
    np.testing.assert_allclose(span_to_token(score, start, end, length=4), 0.5)
    none = span_to_token(score[:0], start[:0], end[:0], length=4)
    np.testing.assert_array_equal(none, jnp.zeros(4))


@pytest.mark.parametrize("kind", ["k1", "k2", "k3", "abs"])
def test_kl_shaped_is_the_reward_less_the_estimate(rng, kind) -> None:
    reward, log_prob, reference = jnp.asarray(rng.normal(size=(3, 4, 5)), jnp.float32)
    where = jnp.asarray(rng.random((4, 5)) < 0.6)
    shaped = kl_shaped(reward, log_prob, reference, coefficient=0.3, kind=kind, where=where)
    ratio = np.asarray(reference - log_prob, np.float64)
    estimate = {"k1": -ratio, "k2": ratio**2 / 2, "k3": np.exp(ratio) - ratio - 1, "abs": np.abs(ratio)}[kind]
    np.testing.assert_allclose(shaped, np.where(where, reward - 0.3 * estimate, 0), rtol=1e-5, atol=1e-6)
    assert np.all(kl_estimate(log_prob, log_prob, kind=kind) == 0)


def test_text2grad_advantages() -> None:
    spans = span_to_token(jnp.array([1.0, -1.0]), jnp.array([1, 3]), jnp.array([3, 4]), length=4)
    log_prob = jnp.array([-1.0, -2.0, -0.5, -0.1])
    reward = kl_shaped(spans, log_prob, log_prob, coefficient=0.2)
    np.testing.assert_allclose(reward, [0, 1, 1, -1])
    value = jnp.array([0.1, 0.2, 0.3, 0.4])
    discount, next_value = jnp.array([1.0, 1, 1, 0]), jnp.array([0.2, 0.3, 0.4, 0])
    advantage = gae(reward, discount, value, next_value, lambda_=0.95)
    np.testing.assert_allclose(advantage, [0.937425, 0.8815, -0.23, -1.4], rtol=1e-5)
    # TRL's whitening over the mask is the batch-centered, batch-scaled advantage.
    where = jnp.array([True, True, False, True])
    kept = np.asarray(advantage, np.float64)[np.asarray(where)]
    expected = (kept - kept.mean()) / np.sqrt(kept.var(ddof=1) + 1e-8)
    whitened = group_relative(advantage, where=where, center="batch", scale="batch_std", epsilon=1e-8)
    np.testing.assert_allclose(whitened[where], expected, rtol=1e-5)
