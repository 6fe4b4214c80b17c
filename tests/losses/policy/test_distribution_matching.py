import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.policy import (
    constraint_target,
    exponential_family_target,
    f_dpg,
    kl_target,
    log_normalizer,
    policy_gradient,
)

SLOPES = {
    "reverse_kl": lambda t: np.log(t) + 1,
    "forward_kl": lambda t: -1 / t,
    "jensen_shannon": lambda t: np.log(2 * t / (t + 1)),
    "total_variation": lambda t: np.sign(t - 1) / 2,
}
GENERATORS = {
    "reverse_kl": lambda t: t * np.log(t),
    "forward_kl": lambda t: -np.log(t),
    "jensen_shannon": lambda t: t * np.log(2 * t / (t + 1)) + np.log(2 / (t + 1)),
    "pearson": lambda t: (t - 1) ** 2,
}


def slope(log_prob, *args, **options):
    return jax.jit(jax.grad(lambda log_prob: f_dpg(log_prob, *args, **options).sum()))(log_prob)


def test_oracle() -> None:
    arrays = jnp.array([-3.0, -4.0]), jnp.array([-3.5, -4.0]), jnp.array([-2.0, -5.0])
    np.testing.assert_allclose(f_dpg(*arrays, log_normalizer=0.5), [1.389525, -1.966936], rtol=1e-5)
    np.testing.assert_allclose(slope(*arrays, log_normalizer=0.5), [-0.463175, 0.491734], rtol=1e-5)


@pytest.mark.parametrize("divergence", list(SLOPES))
def test_equals_numpy(rng, float64, divergence) -> None:
    log_prob, behavior, score = rng.uniform(-9, 0, (3, 50))
    normalizer, baseline = rng.normal(size=(2, 50))
    expected = np.exp(log_prob - behavior) * (SLOPES[divergence](np.exp(log_prob - score + normalizer)) + baseline)
    options = {"log_normalizer": jnp.asarray(normalizer), "baseline": jnp.asarray(baseline), "divergence": divergence}
    arrays = [jnp.asarray(x) for x in (log_prob, behavior, score)]
    np.testing.assert_allclose(slope(*arrays, **options), expected, rtol=1e-10)
    np.testing.assert_allclose(f_dpg(*arrays, **options), expected * log_prob, rtol=1e-10)


@pytest.mark.parametrize("divergence", list(GENERATORS))
def test_expected_gradient_is_that_of_the_divergence(rng, float64, divergence) -> None:
    logits, proposal, score = rng.normal(size=(3, 6))
    target, behavior = np.exp(score) / np.exp(score).sum(), jax.nn.log_softmax(proposal)

    def expected_loss(logits):
        loss = f_dpg(
            jax.nn.log_softmax(logits),
            behavior,
            jnp.asarray(score),
            log_normalizer=jnp.log(jnp.exp(score).sum()),
            divergence=divergence,
        )
        return jnp.sum(jnp.exp(behavior) * loss)

    def divergence_of(logits):
        policy = np.exp(logits) / np.exp(logits).sum()
        return np.sum(target * GENERATORS[divergence](policy / target))

    differences = [(divergence_of(logits + h) - divergence_of(logits - h)) / 2e-6 for h in 1e-6 * np.eye(6)]
    np.testing.assert_allclose(jax.jit(jax.grad(expected_loss))(jnp.asarray(logits)), differences, atol=1e-8)


def test_masked_samples_may_have_any_normalizer(float64) -> None:
    arrays = jnp.array([-1.0, jnp.nan]), jnp.array([-1.0, -jnp.inf]), jnp.array([-2.0, jnp.inf])
    options = {"log_normalizer": jnp.array([0.0, jnp.nan]), "baseline": jnp.array([0.0, jnp.inf])}
    assert slope(*arrays, where=jnp.array([True, False]), **options)[1] == 0


@pytest.mark.parametrize(
    "divergence, pushed_away",
    [("forward_kl", 0), ("jensen_shannon", np.log(2)), ("total_variation", 0.5), ("reverse_kl", 31)],
)
def test_a_violated_constraint_pushes_as_hard_as_the_divergence_allows(divergence, pushed_away) -> None:
    score = constraint_target(jnp.array([-1.0, -2.0]), jnp.array([True, False]))
    np.testing.assert_array_equal(score, [-1, -jnp.inf])
    log_prob = jnp.array([-1.5, -2.5])
    gradient = slope(log_prob, log_prob, score, log_normalizer=0.0, divergence=divergence)
    np.testing.assert_allclose(gradient[1], pushed_away, rtol=1e-5, atol=1e-6)


def test_reverse_kl_to_the_kl_target_is_reinforce_with_a_penalty(rng) -> None:
    log_prob, reference, reward = map(jnp.asarray, rng.uniform(-2, 0, (3, 8)))
    beta = 0.3
    loss = f_dpg(
        log_prob, log_prob, kl_target(reference, reward, beta=beta), log_normalizer=0.0, divergence="reverse_kl"
    )
    expected = policy_gradient(log_prob, reward / beta - (log_prob - reference) - 1)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_exponential_family_target_is_a_tilt(rng) -> None:
    reference, feature, coefficient = rng.normal(size=5), rng.normal(size=(5, 3)), rng.normal(size=3)
    score = exponential_family_target(*map(jnp.asarray, (reference, feature, coefficient)))
    np.testing.assert_allclose(score, reference + feature @ coefficient, rtol=1e-5)


def test_log_normalizer_is_exact_on_all_of_a_uniform_proposal(rng, float64) -> None:
    score = rng.uniform(-90, 90, (3, 7))
    score[0, 2] = -np.inf
    uniform = jnp.full((3, 7), -np.log(7))
    expected = np.log(np.exp(score).sum(-1))
    np.testing.assert_allclose(log_normalizer(jnp.asarray(score), uniform), expected, rtol=1e-12)
    np.testing.assert_allclose(log_normalizer(jnp.asarray(score.T), uniform.T, axis=0), expected, rtol=1e-12)
    mask = jnp.arange(7) < jnp.array([[3], [1], [0]])
    expected = [np.log(np.exp(score[0, :2]).sum() * 7 / 3), score[1, 0] + np.log(7), 0]
    np.testing.assert_allclose(log_normalizer(jnp.asarray(score), uniform, where=mask), expected, rtol=1e-12)
