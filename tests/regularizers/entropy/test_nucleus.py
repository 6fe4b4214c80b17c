import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.regularizers.entropy import categorical_entropy, nucleus_entropy

LOGITS = jnp.log(jnp.array([[0.5, 0.25, 0.15, 0.1], [0.9, 0.05, 0.03, 0.02]]))


def slope(logits, **options):
    return jax.jit(jax.grad(lambda x: nucleus_entropy(x, **options).sum()))(logits)


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
    np.testing.assert_allclose(nucleus_entropy(LOGITS), [0.636514, 0], atol=1e-6)
    np.testing.assert_allclose(slope(LOGITS), [[-0.154033, 0.154033, 0, 0], [0] * 4], atol=1e-6)


def test_oracle_with_the_boundary() -> None:
    np.testing.assert_allclose(nucleus_entropy(LOGITS, include_boundary=True), [0.980990, 0], atol=1e-6)
    expected = [[-0.218446, 0.083318, 0.135128, 0], [0] * 4]
    np.testing.assert_allclose(slope(LOGITS, include_boundary=True), expected, atol=1e-6)


@pytest.mark.parametrize("include_boundary", [False, True])
def test_equals_numpy_and_finite_differences(rng, check_gradient, include_boundary) -> None:
    logits = rng.normal(size=(6, 40)) * np.array([0.3, 0.5, 1, 2, 4, 8])[:, None] + 30
    logits[1, 5:9] = -np.inf
    call = jax.jit(lambda x, top_p: nucleus_entropy(x.T, top_p=top_p, include_boundary=include_boundary, axis=0))
    for top_p in (0.3, 0.8, 0.97):
        expected = [numpy_entropy(row, top_p, include_boundary) for row in logits]
        np.testing.assert_allclose(call(jnp.asarray(logits), top_p), expected, atol=1e-12)
    assert np.isfinite(jax.grad(lambda x: call(x, 0.8).sum())(jnp.asarray(logits))).all()
    logits[1, 5:9] = 29
    check_gradient(lambda x: call(x, 0.8), jnp.asarray(logits))


def test_the_whole_distribution_gives_shannon_entropy(rng) -> None:
    logits = jnp.asarray(rng.normal(size=(5, 30)), jnp.float32)
    whole = nucleus_entropy(logits, top_p=1.0, include_boundary=True)
    np.testing.assert_allclose(whole, categorical_entropy(logits), rtol=1e-5)


def test_equal_probabilities_share_the_places_in_the_nucleus() -> None:
    # 0.4 + 0.2 < 0.7 <= 0.4 + 2 · 0.2: one place for three.
    logits = jnp.log(jnp.array([0.2, 0.4, 0.2, 0.2]))
    np.testing.assert_allclose(nucleus_entropy(logits, top_p=0.7), numpy_entropy(np.asarray(logits), 0.7, False))
    gradient = slope(logits, top_p=0.7)
    np.testing.assert_allclose(gradient[jnp.array([0, 2, 3])], -gradient[1] / 3, rtol=1e-5)
    np.testing.assert_allclose(nucleus_entropy(jnp.zeros(7), top_p=0.5), np.log(3), rtol=1e-6)


def test_nothing_depends_on_a_shift_or_on_the_tail(rng, float64) -> None:
    logits = jnp.asarray(rng.normal(size=50) * 2)
    np.testing.assert_allclose(nucleus_entropy(logits + 100), nucleus_entropy(logits), rtol=1e-9)
    order = jnp.argsort(-logits)
    kept, gradient = jnp.cumsum(jax.nn.softmax(logits)[order]) < 0.8, slope(logits)[order]
    assert (gradient[kept] != 0).all() and (gradient[~kept] == 0).all()
