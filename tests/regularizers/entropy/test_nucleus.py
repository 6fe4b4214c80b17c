from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.regularizers.entropy import categorical_entropy, nucleus_entropy

LOGITS = jnp.log(jnp.array([[0.5, 0.25, 0.15, 0.1], [0.9, 0.05, 0.03, 0.02]]))


@partial(jax.jit, static_argnums=2)
def value_and_slope(logits, top_p=0.8, include_boundary=False):
    def total(logits):
        entropy = nucleus_entropy(logits.T, top_p=top_p, include_boundary=include_boundary, axis=0)
        return entropy.sum(), entropy

    slope, value = jax.grad(total, has_aux=True)(logits)
    return value, slope


def numpy_entropy(logits, top_p, include_boundary):
    probability = np.exp(logits - logits.max())
    probability /= probability.sum()
    total, kept = 0.0, []
    for p in sorted(probability, reverse=True):
        total += p
        if (total - p if include_boundary else total) < top_p:
            kept.append(p)
    q = np.array(kept) / np.sum(kept)
    return -np.sum(q * np.log(q)) if kept else 0.0


def test_oracle() -> None:
    value, slope = value_and_slope(LOGITS)
    np.testing.assert_allclose(value, [0.636514, 0], atol=1e-6)
    np.testing.assert_allclose(slope, [[-0.154033, 0.154033, 0, 0], [0] * 4], atol=1e-6)
    value, slope = value_and_slope(LOGITS, 0.8, True)
    np.testing.assert_allclose(value, [0.980990, 0], atol=1e-6)
    np.testing.assert_allclose(slope, [[-0.218446, 0.083318, 0.135128, 0], [0] * 4], atol=1e-6)


@pytest.fixture
def logits(rng, float64):
    return rng.normal(size=(6, 40)) * np.array([0.3, 0.5, 1, 2, 4, 8])[:, None] + 30


@pytest.mark.parametrize("include_boundary", [False, True])
def test_equals_numpy_and_finite_differences(logits, check_gradient, include_boundary) -> None:
    function = lambda x: nucleus_entropy(x, top_p=0.8, include_boundary=include_boundary)
    check_gradient(jax.jit(function), jnp.asarray(logits))
    logits[1, 5:9] = -np.inf
    for top_p in (0.3, 0.8, 0.97):
        value, slope = value_and_slope(jnp.asarray(logits), top_p, include_boundary)
        expected = [numpy_entropy(row, top_p, include_boundary) for row in logits]
        np.testing.assert_allclose(value, expected, atol=1e-12)
        assert np.isfinite(slope).all()


def test_the_whole_distribution_gives_shannon_entropy(logits) -> None:
    whole, _ = value_and_slope(jnp.asarray(logits), 1.0, True)
    np.testing.assert_allclose(whole, categorical_entropy(jnp.asarray(logits)), rtol=1e-9)


def test_nothing_depends_on_a_shift_or_on_the_tail(logits) -> None:
    logits = jnp.asarray(logits)
    value, slope = value_and_slope(logits)
    np.testing.assert_allclose(value_and_slope(logits + 100)[0], value, rtol=1e-9)
    order = np.argsort(-logits)
    kept = np.cumsum(np.take_along_axis(np.asarray(jax.nn.softmax(logits)), order, -1), -1) < 0.8
    in_order = np.take_along_axis(np.asarray(slope), order, -1)
    several = kept.sum(-1, keepdims=True) > 1
    np.testing.assert_array_equal(in_order != 0, kept & several)


def test_equal_probabilities_share_the_places_in_the_nucleus() -> None:
    # 0.4 + 0.2 < 0.7 <= 0.4 + 2 · 0.2: one place for three. And two places for four.
    logits = jnp.log(jnp.array([[0.2, 0.4, 0.2, 0.2], [0.25] * 4]))
    value, slope = value_and_slope(logits, 0.7)
    np.testing.assert_allclose(value, [numpy_entropy(np.log([0.2, 0.4, 0.2, 0.2]), 0.7, False), np.log(2)], rtol=1e-6)
    np.testing.assert_allclose(slope[0, jnp.array([0, 2, 3])], -slope[0, 1] / 3, rtol=1e-5)
    np.testing.assert_allclose(slope[1], 0, atol=1e-7)
