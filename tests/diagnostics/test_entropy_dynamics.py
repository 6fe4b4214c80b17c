import jax
import jax.numpy as jnp
import numpy as np

from rlx.diagnostics import entropy_change, entropy_discriminator, entropy_discriminator_baseline
from rlx.regularizers.entropy import categorical_entropy

baseline_of = jax.jit(entropy_discriminator_baseline, static_argnames="axis")
entropy_of = jax.jit(categorical_entropy)


def test_oracle() -> None:
    p = jnp.array([0.5, 0.3, 0.2])
    entropy = entropy_of(jnp.log(p))
    np.testing.assert_allclose(entropy_discriminator(jnp.log(p), entropy), [0.168253, -0.052296, -0.115957], atol=1e-6)
    np.testing.assert_allclose(baseline_of(jnp.log(p) + 7), 0.045246, atol=1e-6)


def test_it_is_minus_the_slope_of_the_entropy(rng, float64) -> None:
    logits = jnp.asarray(rng.normal(size=8) * 2)
    log_prob, entropy = jax.nn.log_softmax(logits), entropy_of(logits)
    found = entropy_discriminator(log_prob, entropy)
    np.testing.assert_allclose(found, -jax.grad(categorical_entropy)(logits), rtol=1e-9)
    np.testing.assert_array_equal(np.sign(found), np.sign(jnp.exp(log_prob) - jnp.exp(-entropy)))
    baseline = baseline_of(logits)
    np.testing.assert_allclose(jnp.sum(jnp.exp(log_prob) * (found - baseline)), 0, atol=1e-12)


def test_baseline_equals_numpy(rng, float64) -> None:
    logits = rng.normal(size=(4, 30)) * np.array([0.1, 1, 5, 40])[:, None] + 60
    logits[1, 3:9] = -np.inf
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    log_p = np.log(np.where(p > 0, p, 1))
    entropy = -(p * log_p).sum(-1, keepdims=True)
    expected = (p**2 * (entropy + log_p)).sum(-1)
    np.testing.assert_allclose(baseline_of(jnp.asarray(logits)), expected, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(baseline_of(jnp.asarray(logits).T, axis=0), expected, rtol=1e-8, atol=1e-12)


def test_uniform_policies_are_at_the_peak_of_entropy() -> None:
    logits = jnp.zeros((2, 16))
    np.testing.assert_allclose(entropy_discriminator(jnp.full(2, -np.log(16)), entropy_of(logits)), 0, atol=1e-6)
    np.testing.assert_allclose(baseline_of(logits), 0, atol=1e-7)


def test_the_predicted_change_is_that_of_a_small_step(rng, float64) -> None:
    logits, advantage = jnp.asarray(rng.normal(size=6)), 1.7
    log_prob, entropy = jax.nn.log_softmax(logits), entropy_of(logits)
    baseline = baseline_of(logits)
    errors = []
    for step_size in (1e-3, 5e-4):
        predicted = entropy_change(log_prob, entropy[None], baseline[None], jnp.full(6, advantage), step_size=step_size)
        steps = step_size * advantage * (jnp.eye(6) - jnp.exp(log_prob))
        measured = entropy_of(logits + steps) - entropy
        errors.append(jnp.abs(predicted - measured).max())
        np.testing.assert_allclose(predicted, measured, atol=3 * step_size**2)
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.05)  # of second order


def test_a_sure_token_does_not_cancel_in_bfloat16() -> None:
    log_prob, entropy = jnp.array([-0.0123], jnp.bfloat16), jnp.array([0.0654], jnp.bfloat16)
    exact = np.exp(float(log_prob[0])) * (float(entropy[0]) + float(log_prob[0]))
    found = entropy_discriminator(log_prob, entropy)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(float(found[0]), exact, rtol=4e-3)  # half a unit in the last place
