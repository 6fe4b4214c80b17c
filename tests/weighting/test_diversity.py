import jax
import jax.numpy as jnp
import numpy as np

from rlx import weighting

diversity_softmax = jax.jit(weighting.diversity_softmax, static_argnames=("axis",))


def test_oracle() -> None:
    weight = diversity_softmax(jnp.array([0.2, 0.4, 0.9]), jnp.array([True, True, False]))
    np.testing.assert_allclose(weight, [0.268941, 0.731059, 0], atol=1e-6)


def test_equals_numpy_and_sums_to_one_where_there_is_a_success(rng, float64) -> None:
    diversity, success = rng.uniform(size=(5, 6)), rng.random((5, 6)) < 0.5
    success[0] = False
    weight = np.exp(7 * diversity) * success
    expected = weight / np.maximum(weight.sum(-1, keepdims=True), 1e-300)
    poisoned = jnp.asarray(np.where(success, diversity, np.nan))
    np.testing.assert_allclose(diversity_softmax(poisoned, jnp.asarray(success), temperature=7.0), expected, rtol=1e-12)
    np.testing.assert_allclose(
        diversity_softmax(poisoned.T, jnp.asarray(success).T, temperature=7.0, axis=0).T, expected, rtol=1e-12
    )


def test_extreme_temperatures() -> None:
    diversity, success = jnp.array([0.1, 0.9, 0.4]), jnp.array([True, False, True])
    np.testing.assert_allclose(diversity_softmax(diversity, success, temperature=0.0), [0.5, 0, 0.5])
    np.testing.assert_allclose(diversity_softmax(diversity, success, temperature=1e6), [0, 0, 1])
