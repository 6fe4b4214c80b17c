import jax
import jax.numpy as jnp
import numpy as np

from rlx.data import optimal_rejected_log_prob
from rlx.diagnostics import differential_information, differential_information_entropy
from rlx.losses.preference import dpo
from rlx.regularizers.entropy import categorical_entropy

TARGET, REFERENCE = jnp.log(jnp.array([0.6, 0.3, 0.1])), jnp.log(jnp.array([0.2, 0.3, 0.5]))


def test_oracle() -> None:
    information = differential_information(TARGET, REFERENCE)
    np.testing.assert_allclose(jnp.exp(information), [0.714286, 0.238095, 0.047619], rtol=1e-5)
    np.testing.assert_allclose(categorical_entropy(information), 0.727001, rtol=1e-5)


def test_invariants(rng, float64) -> None:
    policy, reference = map(jnp.asarray, rng.uniform(-80, 0, (2, 3, 5)))
    information = differential_information(policy, reference)
    np.testing.assert_allclose(jnp.exp(information).sum(-1), 1)
    np.testing.assert_allclose(differential_information(policy + 3, reference - 7), information, atol=1e-10)
    np.testing.assert_allclose(differential_information(reference, reference), -np.log(5))
    np.testing.assert_allclose(differential_information(policy.T, reference.T, axis=0).T, information)


def test_responses_outside_the_reference_are_masked() -> None:
    policy, reference = (jnp.append(x, -jnp.inf) for x in (TARGET, REFERENCE))
    information = differential_information(policy, reference, where=jnp.isfinite(reference))
    np.testing.assert_allclose(information[:3], differential_information(TARGET, REFERENCE), rtol=1e-6)
    assert information[3] == 0


def test_preferences_with_the_odds_of_the_information_have_the_target_as_optimum(rng, float64) -> None:
    """Chosen responses from the reference, rejected ones from the optimal sampler, no labels."""
    target, reference = (jax.nn.log_softmax(jnp.asarray(rng.normal(size=5))) for _ in range(2))
    first, second = map(jnp.asarray, np.divmod(np.arange(25), 5))
    for beta in (0.1, 0.5, 1.0):
        rejected = optimal_rejected_log_prob(reference, target, reference, beta=beta)

        def expected_loss(logits, beta=beta, rejected=rejected):
            log_prob = jax.nn.log_softmax(logits)
            pairs = (x[index] for x in (log_prob, reference) for index in (first, second))
            return jnp.sum(jnp.exp(reference[first] + rejected[second]) * dpo(*pairs, beta=beta))

        slope = jax.jit(jax.grad(expected_loss))
        at_target, elsewhere = (np.abs(slope(x)).max() for x in (target, reference))
        assert at_target < 1e-15 < 1e-4 < elsewhere


def test_entropy_from_samples(rng, float64) -> None:
    policy, reference = (jax.nn.log_softmax(jnp.asarray(x)) for x in rng.normal(size=(2, 6)))
    exact = categorical_entropy(differential_information(policy, reference))
    samples = rng.choice(6, 200_000, p=np.exp(policy) / np.exp(policy).sum())
    estimate = differential_information_entropy(policy[samples], reference[samples])
    np.testing.assert_allclose(estimate, exact, atol=0.01)


def test_entropy_from_samples_equals_a_loop_over_valid_ones(rng, float64) -> None:
    policy, reference = rng.uniform(-80, 0, (2, 3, 7))
    mask = rng.random((3, 7)) < 0.6
    mask[0], mask[1] = True, False
    expected = np.zeros(3)
    for i in (0, 2):
        log_prob, anchor = policy[i, mask[i]], reference[i, mask[i]]
        weight = np.exp(-anchor)
        expected[i] = np.log(weight.mean()) - np.sum(weight / weight.sum() * (log_prob - anchor))
    arrays = [jnp.asarray(np.where(mask, x, np.nan)) for x in (policy, reference)]
    entropy = differential_information_entropy(*arrays, where=jnp.asarray(mask))
    np.testing.assert_allclose(entropy, expected, rtol=1e-10)
