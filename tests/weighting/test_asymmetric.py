import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.weighting import difficulty_kl_weight, excess_length_weight


def test_difficulty_oracle() -> None:
    weight = difficulty_kl_weight(jnp.array([1.0, 1, 1, -1, 0, 1]), jnp.array([0.125, 0.5, 1, 0.5, 0.5, 0]))
    np.testing.assert_allclose(weight, [0.288077, 0.743119, 1, 1, 1, 1], rtol=2e-6)


def test_a_fast_rate_is_no_weight(rng) -> None:
    rate = jnp.asarray(rng.uniform(0.05, 1, 20), jnp.float32)
    np.testing.assert_allclose(difficulty_kl_weight(jnp.ones(20), rate, rate=1e4), 1)


def test_length_oracle() -> None:
    length, correct = jnp.array([100, 300, 5200, 150]), jnp.array([True, True, False, False])
    np.testing.assert_allclose(excess_length_weight(length, correct), [1, 1, 1.048770, 1], rtol=1e-6)
    np.testing.assert_allclose(excess_length_weight(length.astype(float), correct), [1, 1, 1.048770, 1], rtol=1e-6)


def test_length_equals_numpy(rng, float64) -> None:
    length, correct = rng.integers(1, 2000, (6, 8)), rng.random((6, 8)) < 0.4
    where = rng.random((6, 8)) < 0.8
    correct[2], where[3] = False, False
    expected = where.astype(float)
    for i, j in zip(*np.nonzero(where & ~correct), strict=True):
        right = length[i][where[i] & correct[i]]
        if right.size and length[i, j] > right.mean():
            expected[i, j] = 1 + (1 - 1.01 ** -(length[i, j] - right.mean()))
    assert (expected > 1).sum() > 5
    arrays = [jnp.asarray(x) for x in (length.astype(float), correct)]
    found = excess_length_weight(*arrays, base=1.01, where=jnp.asarray(where))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    turned = excess_length_weight(*(x.T for x in arrays), base=1.01, where=jnp.asarray(where).T, axis=0)
    np.testing.assert_allclose(turned.T, expected, rtol=1e-9)


def test_length_limits() -> None:
    length, correct = jnp.array([[10, 1000], [10, 1000]]), jnp.array([[True, False], [False, False]])
    np.testing.assert_allclose(excess_length_weight(length, correct, base=10.0), [[1, 2], [1, 1]])
    np.testing.assert_allclose(excess_length_weight(length, correct, base=1.0), 1)


def test_length_needs_a_boolean_correctness(unannotated) -> None:
    with unannotated:
        with pytest.raises(ValueError, match="correct must be a boolean"):
            excess_length_weight(jnp.ones(3), jnp.ones(3))
        with pytest.raises(ValueError, match="do not broadcast"):
            excess_length_weight(jnp.ones(3), jnp.ones(4, bool))


def test_long_lengths_survive_bfloat16() -> None:
    call = lambda dtype: excess_length_weight(jnp.array([256, 4096], dtype), jnp.array([True, False]), base=1.001)
    assert call(jnp.bfloat16).dtype == jnp.bfloat16
    np.testing.assert_allclose(call(jnp.bfloat16), call(jnp.float32), rtol=1e-2)
    assert not np.any(jax.grad(lambda x: excess_length_weight(x, jnp.array([True, False])).sum())(jnp.ones(2)))
