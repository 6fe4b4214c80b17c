import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.regularizers.entropy import anchored_entropy, entropy_band_penalty
from rlx.weighting import quantile_mask

ENTROPY = jnp.array([[0.1, 0.9, 0.3, 0.5, 0.7], [0.2, 0.4, 9, 9, 9]])
WHERE = jnp.array([[True] * 5, [True, True, False, False, False]])


def test_anchor_oracle() -> None:
    peaks = quantile_mask(ENTROPY, where=WHERE)
    call = lambda entropy: anchored_entropy(entropy, 0.5, where=peaks)
    np.testing.assert_allclose(call(ENTROPY), 1.125e-4, rtol=1e-5)
    np.testing.assert_allclose(jax.grad(call)(ENTROPY), jnp.where(peaks, 0.00075, 0), rtol=1e-5)


def test_anchor_equals_numpy_and_finite_differences(rng, check_gradient) -> None:
    entropy, where = rng.uniform(0, 2, (4, 6)), rng.random((4, 6)) < 0.6
    where[2] = False
    means = [row[m].mean() if m.any() else 0.0 for row, m in zip(entropy, where, strict=True)]
    call = jax.jit(lambda x: anchored_entropy(x, 0.7, coefficient=0.3, where=jnp.asarray(where)))
    np.testing.assert_allclose(call(jnp.asarray(entropy)), 0.3 * (np.mean(means) - 0.7) ** 2, rtol=1e-9)
    check_gradient(call, jnp.asarray(entropy))


def test_below_the_anchor_it_is_an_entropy_bonus(rng) -> None:
    entropy = jnp.asarray(rng.uniform(0, 1, (3, 4)), jnp.float32)
    average = entropy.mean()
    gradient = jax.grad(lambda x: anchored_entropy(x, average + 0.2, coefficient=1.0))(entropy)
    np.testing.assert_allclose(gradient, -2 * 0.2 / 12, rtol=1e-4)
    assert not np.any(jax.grad(lambda x: anchored_entropy(x, average))(entropy))
    anchor_slope = jax.grad(lambda anchor: anchored_entropy(entropy, anchor))(average + 1)
    assert anchor_slope == 0


TOKENS, HISTORY = jnp.array([[0.2, 0.5, 1.9]]), jnp.array([0.8])


@pytest.mark.parametrize(
    ("options", "expected", "gradient"),
    [
        ({}, [[0.1, 0, 0.1]], [[0, 0, 0]]),
        ({"kind": "hinge"}, [[0.02, 0, 0.03]], [[-0.1, 0, 0.1]]),
        ({"level": "sequence"}, [[0, 0, 0]], [[0, 0, 0]]),
        ({"level": "sequence", "kind": "hinge", "high": 1.0}, [[0.02 / 3] * 3], [[0.1] * 3]),
    ],
)
def test_band_oracle(options, expected, gradient) -> None:
    call = lambda x: entropy_band_penalty(x, HISTORY, **{"low": 0.5, "high": 2.0, **options})
    np.testing.assert_allclose(call(TOKENS), expected, atol=1e-7)
    np.testing.assert_allclose(jax.grad(lambda x: call(x).sum())(TOKENS), gradient, atol=1e-7)


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("kind", ["indicator", "hinge"])
def test_band_equals_numpy(rng, check_gradient, level, kind) -> None:
    entropy, history = rng.uniform(0, 2, (5, 6)), rng.uniform(0.4, 1, 5)
    where = rng.random((5, 6)) < 0.6
    history[1], where[2] = 0, False
    expected = np.zeros((5, 6))
    for i, t in zip(*np.nonzero(where), strict=True):
        h = entropy[i, t] if level == "token" else entropy[i][where[i]].mean()
        low, high = 0.8 * history[i], 1.2 * history[i]
        if kind == "indicator":
            expected[i, t] = 0.3 * (not low < h < high)
        else:
            expected[i, t] = 0.3 * (max(0, low - h) + max(0, h - high))
        expected[i, t] *= history[i] > 0
    options = {"low": 0.8, "high": 1.2, "penalty": 0.3, "level": level, "kind": kind, "where": jnp.asarray(where).T}
    call = jax.jit(lambda x: entropy_band_penalty(x.T, jnp.asarray(history), **options, axis=0).T)
    np.testing.assert_allclose(call(jnp.asarray(entropy)), expected, rtol=1e-9)
    assert (expected > 0).any() and ((expected == 0) & where).any()
    check_gradient(call, jnp.asarray(entropy))
