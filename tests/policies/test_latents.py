import jax
import jax.numpy as jnp
import numpy as np

from rlx.policies import best_latent


def test_the_best_of_the_samples_is_taken() -> None:
    prior = lambda key: {"z": jax.random.normal(key, (2,)), "index": jax.random.randint(key, (), 0, 99)}
    value = lambda latent: -jnp.sum(jnp.square(latent["z"] - 0.5))
    key = jax.random.key(4)
    samples = [prior(k) for k in jax.random.split(key, 20)]
    expected = max(samples, key=value)
    best = best_latent(key, prior, value, num_samples=20)
    np.testing.assert_allclose(best["z"], expected["z"], rtol=1e-6)
    assert best["index"] == expected["index"]


def test_the_prior_keeps_to_what_can_be_reached() -> None:
    # The value is highest at latent 2, to which the prior gives no probability.
    prior = lambda key: jax.random.categorical(key, jnp.log(jnp.array([0.7, 0.3, 0.0])))
    value = lambda z: jnp.array([0.2, 0.8, 1.0])[z]
    assert best_latent(jax.random.key(0), prior, value, num_samples=50) == 1
