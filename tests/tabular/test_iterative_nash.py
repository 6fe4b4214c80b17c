import jax
import jax.numpy as jnp
import numpy as np

from rlx.tabular import inpo_step

PREFERENCE = np.array([[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]])
REFERENCE = np.array([0.5, 0.3, 0.2])


def test_oracle_and_its_regularized_equilibrium(float64) -> None:
    log_reference, preference = jnp.log(REFERENCE), jnp.asarray(PREFERENCE)
    step = lambda log_prob, eta: inpo_step(log_prob, log_reference, preference, eta=eta, tau=0.1)
    np.testing.assert_allclose(jnp.exp(step(log_reference, 2.0)), [0.514694, 0.279429, 0.205878], atol=1e-6)
    iterate = jax.jit(lambda eta: jax.lax.fori_loop(0, 10_000, lambda _, x: step(x, eta), log_reference))
    equilibrium = np.exp(iterate(1.0))
    np.testing.assert_allclose(equilibrium, [0.400889, 0.211822, 0.387289], atol=1e-6)
    np.testing.assert_allclose(np.exp(iterate(10.0)), equilibrium, atol=1e-12)
    fixed = REFERENCE * np.exp(PREFERENCE @ equilibrium / 0.1)
    np.testing.assert_allclose(fixed / fixed.sum(), equilibrium, atol=1e-13)


def test_constants_in_the_logits_do_not_matter(float64, rng) -> None:
    log_prob, reference = (jnp.asarray(x) for x in rng.normal(size=(2, 4, 3)))
    step = lambda x, y: inpo_step(x, y, jnp.asarray(PREFERENCE), eta=2.0, tau=0.5)
    np.testing.assert_allclose(step(log_prob + 3, reference - 2), step(log_prob, reference), rtol=1e-12)
