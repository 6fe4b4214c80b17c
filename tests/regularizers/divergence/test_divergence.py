import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from rlx.regularizers.divergence import kl_categorical, kl_estimate, kl_gaussian

LOG_PROB = np.log([0.2, 0.3, 0.5])
REFERENCE = np.log([0.4, 0.4, 0.2])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("k1", LOG_PROB - REFERENCE),
        ("k2", (LOG_PROB - REFERENCE) ** 2 / 2),
        ("k3", np.exp(REFERENCE - LOG_PROB) - 1 + LOG_PROB - REFERENCE),
        ("abs", np.abs(LOG_PROB - REFERENCE)),
    ],
)
def test_kl_estimate_by_definition(float64, kind, expected) -> None:
    estimate = kl_estimate(jnp.asarray(LOG_PROB), jnp.asarray(REFERENCE), kind=kind)
    np.testing.assert_allclose(estimate, expected, rtol=1e-12)
    clipped = kl_estimate(jnp.asarray(LOG_PROB), jnp.asarray(REFERENCE), kind=kind, bound=0.2)
    np.testing.assert_allclose(clipped, np.clip(expected, -0.2, 0.2), rtol=1e-12)


@pytest.mark.parametrize("kind", ["k1", "k3"])
def test_kl_estimate_is_unbiased(float64, kind) -> None:
    estimate = kl_estimate(jnp.asarray(LOG_PROB), jnp.asarray(REFERENCE), kind=kind)
    exact = scipy.stats.entropy(np.exp(LOG_PROB), np.exp(REFERENCE))
    np.testing.assert_allclose(np.sum(np.exp(LOG_PROB) * estimate), exact, rtol=1e-12)


def test_the_expected_gradient_of_k2_is_that_of_the_divergence(float64) -> None:
    logits, reference = jnp.asarray([0.3, -0.2, 0.9]), jax.nn.log_softmax(jnp.asarray([0.0, 0.5, 0.1]))
    probability = jax.nn.softmax(logits)
    expected_k2 = lambda x: jnp.sum(probability * kl_estimate(jax.nn.log_softmax(x), reference, kind="k2"))
    exact = lambda x: kl_categorical(x, reference)
    np.testing.assert_allclose(jax.grad(expected_k2)(logits), jax.grad(exact)(logits), rtol=1e-10)


def test_k3_keeps_its_digits_near_zero() -> None:
    estimate = kl_estimate(jnp.zeros(1), jnp.full(1, 1e-3))
    np.testing.assert_allclose(estimate, 1e-6 / 2 + 1e-9 / 6, rtol=1e-3)
    assert (kl_estimate(jnp.linspace(-1e-3, 1e-3, 999), jnp.zeros(999)) >= 0).all()


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match="kind must be one of 'k1', 'k2', 'k3', 'abs', got 'k4'"):
        kl_estimate(jnp.zeros(1), jnp.zeros(1), kind="k4")


def test_kl_gaussian_oracle() -> None:
    np.testing.assert_allclose(
        kl_gaussian(jnp.array([0.5]), jnp.array([0.3]), jnp.array([0.0]), jnp.array([0.5])),
        0.69082563,
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        kl_gaussian(jnp.array(0.5), jnp.array(0.3), jnp.array(0.0), jnp.array(0.5)), 0.69082563, rtol=1e-6
    )


def test_kl_gaussian_equals_quadrature(rng, float64, check_gradient) -> None:
    (mean, std), (reference_mean, reference_std) = ((rng.normal(size=2), rng.uniform(0.5, 2, 2)) for _ in range(2))
    expected = 0.0
    for i in range(2):
        x = np.linspace(mean[i] - 12 * std[i], mean[i] + 12 * std[i], 20001)
        p, q = scipy.stats.norm(mean[i], std[i]), scipy.stats.norm(reference_mean[i], reference_std[i])
        expected += np.trapezoid(p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), x)
    arrays = [jnp.asarray(x) for x in (mean, std, reference_mean, reference_std)]
    np.testing.assert_allclose(kl_gaussian(*arrays), expected, rtol=1e-8)
    check_gradient(kl_gaussian, *arrays)


def test_kl_gaussian_takes_one_scale_for_all() -> None:
    mean, std = jnp.ones((5, 3)), jnp.full(3, 2.0)
    np.testing.assert_allclose(kl_gaussian(mean, std, jnp.zeros((5, 3)), std), np.full(5, 3 / 8), rtol=1e-6)


def test_kl_categorical_equals_scipy(rng, float64, check_gradient) -> None:
    logits, reference = rng.normal(size=(2, 5, 4))
    expected = scipy.stats.entropy(np.exp(logits), np.exp(reference), axis=-1)
    arrays = jnp.asarray(logits), jnp.asarray(reference)
    np.testing.assert_allclose(kl_categorical(*arrays), expected, rtol=1e-10)
    check_gradient(kl_categorical, *arrays)


def test_actions_masked_in_both_do_not_exist() -> None:
    logits, reference = jnp.array([0.3, -jnp.inf, 1.0]), jnp.array([-0.4, -jnp.inf, 0.1])
    kept = jnp.array([0, 2])
    np.testing.assert_allclose(kl_categorical(logits, reference), kl_categorical(logits[kept], reference[kept]))
    for slope in jax.grad(kl_categorical, (0, 1))(logits, reference):
        assert np.isfinite(slope).all() and slope[1] == 0


def test_an_action_that_only_the_reference_excludes_is_infinitely_far() -> None:
    assert kl_categorical(jnp.zeros(2), jnp.array([0.0, -jnp.inf])) == jnp.inf
