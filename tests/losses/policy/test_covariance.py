import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.policy import clip_cov, clipped_surrogate, kl_cov

LOG_PROB = jnp.array([[-0.1, -2.0, -0.5], [-1.0, -0.3, -3.0]])
BEHAVIOR = jnp.array([[-0.2, -1.9, -0.5], [-1.1, -0.6, -3.0]])
ADVANTAGE = jnp.array([[1.0], [-1.0]])
WHERE = jnp.array([[True, True, True], [True, True, False]])


def numpy_covariance(log_prob, advantage, where):
    tokens = [(log_prob[i], advantage[i]) for i in np.ndindex(where.shape) if where[i]]
    mean_log_prob, mean_advantage = (sum(x) / len(tokens) for x in zip(*tokens))
    return (log_prob - mean_log_prob) * (advantage - mean_advantage)


@pytest.fixture
def batch(rng):
    log_prob, behavior = rng.uniform(-2, 0, (2, 8, 25))
    return log_prob, behavior, rng.normal(size=(8, 25)), rng.random((8, 25)) < 0.8


def test_kl_cov_oracle() -> None:
    loss = jax.jit(lambda log_prob: kl_cov(log_prob, BEHAVIOR, ADVANTAGE, fraction=0.4, where=WHERE))
    expected = [[-1.005171, -0.904837, -1], [1.205171, 1.349859, 0]]
    np.testing.assert_allclose(loss(LOG_PROB), expected, atol=1e-6)
    gradient = jax.jit(jax.grad(lambda x: loss(x).sum()))(LOG_PROB)
    np.testing.assert_allclose(gradient, [[-0.105171, -0.904837, -1], [2.105171, 1.349859, 0]], atol=1e-6)


def test_kl_cov_equals_numpy_and_finite_differences(batch, check_gradient) -> None:
    log_prob, behavior, advantage, where = batch
    covariance = np.where(where, numpy_covariance(log_prob, advantage, where), -np.inf)
    count = max(1, int(0.05 * where.sum()))
    expected = -advantage * np.exp(log_prob - behavior)
    for flat in np.argsort(-covariance.ravel())[:count]:
        i = np.unravel_index(flat, where.shape)
        expected[i] += 0.7 * abs(log_prob[i] - behavior[i])
    arrays = [jnp.asarray(x) for x in batch]
    loss = jax.jit(lambda x: kl_cov(x, *arrays[1:3], fraction=0.05, coefficient=0.7, where=arrays[3]))
    np.testing.assert_allclose(loss(arrays[0]), np.where(where, expected, 0), rtol=1e-12)
    check_gradient(loss, arrays[0])


def test_kl_cov_on_policy_is_the_policy_gradient(batch, float64) -> None:
    log_prob, _, advantage, where = map(jnp.asarray, batch)
    loss = jax.jit(lambda x: kl_cov(x, log_prob, advantage, fraction=0.5, where=where))
    expected = jnp.where(where, -advantage, 0)
    np.testing.assert_array_equal(loss(log_prob), expected)
    np.testing.assert_array_equal(jax.grad(lambda x: loss(x).sum())(log_prob), expected)


def test_clip_cov_oracle() -> None:
    """Of three candidates one is dropped, each of them for some key, and nothing else changes."""
    full = clipped_surrogate(LOG_PROB, BEHAVIOR, ADVANTAGE, where=WHERE)
    loss = lambda x, key: clip_cov(key, x, BEHAVIOR, ADVANTAGE, lower=0.1, where=WHERE)
    evaluate = jax.jit(lambda key: (loss(LOG_PROB, key), jax.grad(lambda x: loss(x, key).sum())(LOG_PROB)))
    seen = set()
    for seed in range(12):
        value, gradient = evaluate(jax.random.key(seed))
        np.testing.assert_allclose(value[value != 0], full[value != 0], rtol=1e-6)
        dropped = np.argwhere((value == 0) & WHERE)
        assert len(dropped) == 1 and gradient[tuple(dropped[0])] == value[tuple(dropped[0])] == 0
        seen.add(tuple(dropped[0].tolist()))
    assert seen == {(0, 0), (0, 2), (1, 0)}


def test_clip_cov_drops_as_many_as_it_says_of_the_candidates(batch, check_gradient) -> None:
    log_prob, behavior, advantage, where = batch
    covariance = numpy_covariance(log_prob, advantage, where)
    ratio = np.exp(log_prob - behavior)
    plain = np.maximum(-advantage * ratio, -advantage * np.clip(ratio, 0.5, 1.4))
    free = -advantage * np.clip(ratio, 0.5, 1.4) <= -advantage * ratio
    candidates = where & free & (covariance > 0.1) & (covariance < 0.8)
    arrays, key = [jnp.asarray(x) for x in batch], jax.random.key(1)
    options = {"lower": 0.1, "upper": 0.8, "clip_low": 0.5, "clip_high": 0.4, "where": arrays[3]}
    loss = jax.jit(lambda x, fraction: clip_cov(key, x, *arrays[1:3], fraction=fraction, **options))
    for fraction in (0.0, 0.05, 1.0):
        dropped = where & (np.asarray(loss(arrays[0], fraction)) == 0)
        assert dropped.sum() == min(max(1, int(fraction * where.sum())), candidates.sum())
        assert not np.any(dropped & ~candidates)
        np.testing.assert_allclose(loss(arrays[0], fraction), np.where(where & ~dropped, plain, 0), rtol=1e-12)
    check_gradient(lambda x: loss(x, 0.05), arrays[0])


def test_clip_cov_with_an_empty_band_is_the_clipped_surrogate(batch) -> None:
    log_prob, behavior, advantage, where = (jnp.asarray(x) for x in batch)
    loss = jax.jit(clip_cov)(jax.random.key(0), log_prob, behavior, advantage, lower=2.0, upper=1.0, where=where)
    np.testing.assert_allclose(loss, clipped_surrogate(log_prob, behavior, advantage, where=where), rtol=1e-6)
