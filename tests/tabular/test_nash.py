import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.tabular import inpo_step, nash_md_step, regularized_nash

PREFERENCE = np.array([[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]])
REFERENCE = np.log([0.5, 0.3, 0.2])
EQUILIBRIUM = [0.400889, 0.211822, 0.387289]


def kl(log_p, log_q):
    return float(jnp.sum(jnp.exp(log_p) * (log_p - log_q)))


def test_nash_md_step_oracle(float64) -> None:
    after = nash_md_step(jnp.asarray(REFERENCE), jnp.asarray(REFERENCE), jnp.asarray(PREFERENCE), eta=0.5, tau=0.1)
    np.testing.assert_allclose(jnp.exp(after), [0.514694, 0.279429, 0.205878], rtol=3e-6)


def test_nash_md_step_equals_numpy_in_a_batch(rng, check_gradient) -> None:
    log_prob, reference = rng.normal(scale=5, size=(2, 3, 4))
    preference, eta, tau = rng.random((3, 4, 4)), 0.7, 0.4
    mixture = np.exp((1 - eta * tau) * log_prob + eta * tau * reference)
    mixture /= mixture.sum(-1, keepdims=True)
    expected = mixture * np.exp(eta * np.einsum("bij,bj->bi", preference, mixture))
    arrays = [jnp.asarray(x) for x in (log_prob, reference, preference)]
    after = nash_md_step(*arrays, eta=eta, tau=tau)
    np.testing.assert_allclose(jnp.exp(after), expected / expected.sum(-1, keepdims=True), rtol=1e-10)
    check_gradient(jax.jit(lambda *args: nash_md_step(*args, eta=eta, tau=tau)), *arrays)


def test_last_iterate_converges_to_within_the_step_size(float64) -> None:
    arrays, eta, tau = (jnp.asarray(REFERENCE), jnp.asarray(PREFERENCE)), 0.01, 0.1
    step = lambda _, policy: nash_md_step(policy, *arrays, eta=eta, tau=tau)
    last = jax.lax.fori_loop(0, 20_000, step, arrays[0])
    np.testing.assert_allclose(jnp.exp(last), [0.40087, 0.211683, 0.387448], atol=1e-6)
    assert kl(regularized_nash(arrays[1], arrays[0], tau=tau, iterations=400), last) < 2 * eta / tau


def test_without_regularization_self_play_leaves_the_equilibrium(float64) -> None:
    even = jnp.asarray(np.full((3, 3), 0.5) + 0.4 * np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0]]))
    center, start = jnp.full(3, -np.log(3)), jnp.log(jnp.array([0.4, 0.3, 0.3]))
    run = lambda tau: jax.lax.fori_loop(0, 300, lambda _, x: nash_md_step(x, center, even, eta=0.5, tau=tau), start)
    assert kl(center, run(0.0)) > 5 * kl(center, start)
    assert kl(center, run(0.3)) < 1e-9


@pytest.mark.parametrize("tau, iterations", [(0.02, 2_000), (0.1, 400), (1.0, 70)])
def test_regularized_nash_solves_its_equation(rng, float64, tau, iterations) -> None:
    upper = np.triu(rng.random((5, 6, 6)), 1)
    preference = upper + np.tril(1 - np.swapaxes(upper, 1, 2), -1) + np.eye(6) / 2
    reference = jax.nn.log_softmax(jnp.asarray(rng.normal(size=6)))
    policy = regularized_nash(jnp.asarray(preference), reference, tau=tau, iterations=iterations)
    fixed_point = jax.nn.log_softmax(reference + jnp.einsum("bij,bj->bi", preference, jnp.exp(policy)) / tau)
    np.testing.assert_allclose(jnp.exp(policy), jnp.exp(fixed_point), atol=1e-10)


def test_regularized_nash_oracle_and_the_other_method_that_converges_to_it(float64) -> None:
    policy = regularized_nash(jnp.asarray(PREFERENCE), jnp.asarray(REFERENCE), tau=0.1, iterations=400)
    np.testing.assert_allclose(jnp.exp(policy), EQUILIBRIUM, atol=1e-6)
    anchors = jnp.stack([jnp.asarray(REFERENCE), jnp.zeros(3)])
    batch = regularized_nash(jnp.asarray(PREFERENCE), anchors, tau=0.1, iterations=400)
    np.testing.assert_allclose(batch[0], policy, rtol=1e-12)
    assert not np.allclose(batch[1], policy)
    after = inpo_step(policy, jnp.asarray(REFERENCE), jnp.asarray(PREFERENCE), eta=1.0, tau=0.1)
    np.testing.assert_allclose(after, policy, rtol=1e-12)


def test_bradley_terry_preferences_and_no_regularization_choose_the_best() -> None:
    reward = jnp.array([0.0, 2.0, 1.0])
    preference = jax.nn.sigmoid(reward[:, None] - reward)
    policy = regularized_nash(preference, jnp.full(3, -jnp.log(3)), tau=0.01, iterations=3_000)
    assert jnp.exp(policy)[1] > 0.999


def test_an_excluded_response_stays_excluded() -> None:
    reference = jnp.array([-0.7, -0.7, -jnp.inf])
    for policy in (
        regularized_nash(jnp.asarray(PREFERENCE), reference, tau=0.1, iterations=50),
        nash_md_step(reference, reference, jnp.asarray(PREFERENCE), eta=0.5, tau=0.0),
    ):
        assert np.isneginf(policy[2]) and np.isfinite(policy[:2]).all()


def test_a_preference_that_is_not_square_is_named(unannotated) -> None:
    with unannotated, pytest.raises(ValueError, match="preference must be square.*3, 2"):
        nash_md_step(jnp.asarray(REFERENCE), jnp.asarray(REFERENCE), jnp.ones((3, 2)), eta=0.5, tau=0.1)
