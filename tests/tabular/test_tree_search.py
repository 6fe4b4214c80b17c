import jax.numpy as jnp
import numpy as np

from rlx.tabular import length_penalized_prior, puct


def test_puct_oracle() -> None:
    np.testing.assert_allclose(puct(jnp.array(0.5), jnp.array(3), jnp.array(16), jnp.array(0.25)), 0.75)


def test_puct_equals_numpy(rng) -> None:
    value, prior, visits = rng.normal(size=(2, 5)), rng.random((2, 5)), rng.integers(0, 9, (2, 5))
    parent = visits.sum(-1, keepdims=True) + 1
    expected = value + 2.5 * prior * np.sqrt(parent) / (1 + visits)
    score = puct(*map(jnp.asarray, (value, visits, parent, prior)), exploration=2.5)
    np.testing.assert_allclose(score, expected, rtol=1e-6)
    np.testing.assert_allclose(puct(*map(jnp.asarray, (value, visits, parent, prior)), exploration=0.0), value)


def test_prior_is_a_geometric_mean_at_power_one(rng) -> None:
    probability = rng.random(6)
    total, length = jnp.asarray(np.log(probability).sum()), jnp.array(6)
    np.testing.assert_allclose(
        length_penalized_prior(total, length, power=1.0), np.prod(probability) ** (1 / 6), rtol=1e-5
    )
    np.testing.assert_allclose(length_penalized_prior(total, length), np.exp(total / 6**1.25), rtol=1e-5)
    np.testing.assert_allclose(length_penalized_prior(total, jnp.array(1)), np.prod(probability), rtol=1e-5)
