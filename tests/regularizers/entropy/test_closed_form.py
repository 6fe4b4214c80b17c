import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from rlx.regularizers.entropy import categorical_entropy, gaussian_entropy


def test_categorical_entropy_equals_scipy(rng, float64, check_gradient) -> None:
    logits = rng.normal(size=(5, 4))
    expected = scipy.stats.entropy(np.exp(logits), axis=-1)
    np.testing.assert_allclose(categorical_entropy(jnp.asarray(logits)), expected, rtol=1e-12)
    np.testing.assert_allclose(categorical_entropy(jnp.asarray(logits.T), axis=0), expected, rtol=1e-12)
    check_gradient(categorical_entropy, jnp.asarray(logits))


def test_masked_actions_do_not_exist() -> None:
    logits = jnp.array([0.3, -jnp.inf, 1.0])
    value, slope = jax.value_and_grad(categorical_entropy)(logits)
    rest, slope_rest = jax.value_and_grad(categorical_entropy)(logits[jnp.array([0, 2])])
    np.testing.assert_allclose(value, rest, rtol=1e-6)
    np.testing.assert_allclose(slope[jnp.array([0, 1, 2])], [slope_rest[0], 0, slope_rest[1]], rtol=1e-6)


def test_bounds() -> None:
    np.testing.assert_allclose(categorical_entropy(jnp.zeros(8)), np.log(8), rtol=1e-6)
    assert categorical_entropy(jnp.array([0.0, -jnp.inf])) == 0
    assert categorical_entropy(jnp.array([1e4, 0.0])) == 0


def test_gaussian_entropy_equals_scipy(rng) -> None:
    std = rng.uniform(0.1, 3, 4)
    expected = scipy.stats.multivariate_normal(cov=np.diag(std**2)).entropy()
    np.testing.assert_allclose(gaussian_entropy(jnp.log(jnp.asarray(std, jnp.float32))), expected, rtol=1e-5)
