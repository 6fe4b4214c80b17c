import jax
import jax.numpy as jnp
import numpy as np

from rlx.regularizers.entropy import categorical_entropy, sampled_negentropy


def test_oracle() -> None:
    log_prob, behavior = jnp.array([-1.0, -1.0]), jnp.array([-1.0, -1.5])
    np.testing.assert_allclose(sampled_negentropy(log_prob, behavior), [-1, -1.648721], atol=1e-6)
    gradient = jax.grad(lambda x: sampled_negentropy(x, behavior).sum())(log_prob)
    np.testing.assert_allclose(gradient, 0, atol=1e-7)


def test_equals_numpy_and_finite_differences(rng, check_gradient) -> None:
    log_prob, behavior = rng.uniform(-3, 0, (2, 40))
    where = rng.random(40) < 0.7
    arrays = [jnp.asarray(x) for x in (np.where(where, log_prob, 0.0), behavior)]
    estimate = jax.jit(lambda x: sampled_negentropy(x, arrays[1], where=jnp.asarray(where)))
    expected = np.where(where, np.exp(log_prob - behavior) * log_prob, 0)
    np.testing.assert_allclose(estimate(arrays[0]), expected, rtol=1e-12)
    check_gradient(estimate, arrays[0])


def test_the_mean_over_the_behavior_policy_has_value_and_gradient_of_the_entropy(rng, float64) -> None:
    logits, behavior_logits = map(jnp.asarray, rng.normal(size=(2, 3)))
    behavior = jax.nn.log_softmax(behavior_logits)

    @jax.jit
    def mean(logits):
        return jnp.sum(jnp.exp(behavior) * sampled_negentropy(jax.nn.log_softmax(logits), behavior))

    np.testing.assert_allclose(mean(logits), -categorical_entropy(logits), rtol=1e-12)
    np.testing.assert_allclose(jax.grad(mean)(logits), -jax.grad(categorical_entropy)(logits), rtol=1e-10, atol=1e-15)


def test_beyond_the_bound_the_ratio_is_constant() -> None:
    log_prob, behavior = jnp.array([-1.0]), jnp.array([-9.0])
    value, slope = jax.value_and_grad(lambda x: sampled_negentropy(x, behavior, bound=2.0).sum())(log_prob)
    np.testing.assert_allclose((value, slope[0]), (-np.exp(2), np.exp(2)), rtol=1e-6)
