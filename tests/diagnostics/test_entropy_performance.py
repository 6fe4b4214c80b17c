import jax
import jax.numpy as jnp
import numpy as np

from rlx import diagnostics

entropy_law = jax.jit(diagnostics.entropy_law)
fit_entropy_law = jax.jit(diagnostics.fit_entropy_law)


def test_fit_returns_the_law_that_made_the_data(rng, float64) -> None:
    entropy = jnp.asarray(rng.uniform(0, 2, (3, 10)))
    a, b = jnp.asarray(rng.uniform(0.1, 0.5, 3)), jnp.asarray(rng.uniform(0.5, 2, 3))
    performance = entropy_law(entropy, a[:, None], b[:, None])
    np.testing.assert_allclose(performance[1, 4], b[1] - a[1] * np.exp(entropy[1, 4]))
    np.testing.assert_allclose(fit_entropy_law(entropy, performance), (a, b), rtol=1e-10)
    np.testing.assert_allclose(entropy_law(jnp.zeros(1), float(a[0]), float(b[0])), b[:1] - a[:1])


def test_fit_equals_least_squares(rng, float64) -> None:
    entropy, performance = rng.uniform(0, 2, 30), rng.normal(size=30)
    slope, offset = np.polyfit(np.exp(entropy), performance, 1)
    fitted = fit_entropy_law(jnp.asarray(entropy), jnp.asarray(performance))
    np.testing.assert_allclose(fitted, (-slope, offset), rtol=1e-9)


def test_fit_of_equal_entropies_is_the_mean() -> None:
    np.testing.assert_allclose(fit_entropy_law(jnp.ones(3), jnp.array([1.0, 2.0, 6.0])), (0, 3), atol=1e-6)
