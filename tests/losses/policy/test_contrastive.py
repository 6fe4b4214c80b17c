import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx.losses.policy import copg


def slope(function, log_prob, *args, **options):
    return jax.jit(jax.grad(lambda log_prob: function(log_prob, *args, **options).sum()))(log_prob)


@pytest.fixture
def group(rng):
    log_prob, reference = rng.uniform(-60, 0, (2, 5, 4))
    return tuple(map(jnp.asarray, (log_prob, reference, rng.normal(size=(5, 4)))))


def test_oracle() -> None:
    arrays = jnp.array([-1.0, -2.0, -3.0]), jnp.array([-1.5, -1.5, -3.0]), jnp.array([1.0, 0.0, 0.5])
    np.testing.assert_allclose(copg(*arrays, beta=0.5), 0.0625, rtol=1e-6)
    np.testing.assert_allclose(slope(copg, *arrays, beta=0.5), [-0.125, 0.125, 0], atol=1e-7)
    surrogate = copg(*arrays, beta=0.5, form="surrogate")
    np.testing.assert_allclose(surrogate, [0.375, -0.75, 0], atol=1e-6)


def test_equals_the_sum_over_pairs_and_the_contrasts(rng, float64) -> None:
    log_prob, reference = rng.uniform(-80, 0, (2, 6, 5))
    reward, mask, beta = rng.normal(size=(6, 5)), rng.random((6, 5)) < 0.7, 0.3
    mask[0], mask[1], mask[2] = True, False, np.arange(5) == 2
    variance, surrogate = np.zeros(6), np.zeros((6, 5))
    regularized = reward - beta * (log_prob - reference)
    for g in range(6):
        valid = np.flatnonzero(mask[g])
        k = len(valid)
        for i in valid:
            others = [regularized[g, j] for j in valid if j != i]
            if others:
                surrogate[g, i] = -(regularized[g, i] - np.mean(others)) * log_prob[g, i]
                variance[g] += sum((regularized[g, i] - r) ** 2 for r in others) / (4 * beta * k * (k - 1))
    arrays = [jnp.asarray(np.where(mask, x, np.nan)) for x in (log_prob, reference, reward)]
    options = {"beta": beta, "where": jnp.asarray(mask)}
    np.testing.assert_allclose(copg(*arrays, **options), variance, rtol=1e-10)
    np.testing.assert_allclose(copg(*arrays, form="surrogate", **options), surrogate, rtol=1e-10, atol=1e-12)


def test_gradients(group, check_gradient) -> None:
    log_prob, reference, reward = (x.astype(jnp.float64) for x in group)
    check_gradient(jax.jit(lambda x: copg(x, reference, reward, beta=0.5)), log_prob)
    averaged = slope(lambda *args: copg(*args, form="surrogate").mean(-1), log_prob, reference, reward)
    np.testing.assert_allclose(slope(copg, log_prob, reference, reward), averaged, rtol=1e-9)


def test_constants_of_a_group_change_nothing_and_the_optimum_has_no_loss(group) -> None:
    log_prob, reference, reward = group
    shifted = copg(log_prob + 3, reference - 2, reward + 5)
    np.testing.assert_allclose(shifted, copg(log_prob, reference, reward), rtol=1e-3)
    optimum = jax.nn.log_softmax(reference + reward / 0.1)
    np.testing.assert_allclose(copg(optimum, reference, reward), 0, atol=1e-8)


def test_of_two_it_is_a_squared_gap_of_log_ratios(group) -> None:
    log_prob, reference, _ = (x[:, :2] for x in group)
    beta, log_ratio = 0.2, log_prob - reference
    squares = beta / 4 * (log_ratio[:, 0] - log_ratio[:, 1] - 1 / beta) ** 2
    loss = copg(log_prob, reference, jnp.broadcast_to(jnp.array([0.5, -0.5]), (5, 2)), beta=beta)
    np.testing.assert_allclose(loss, squares, rtol=1e-4)


def test_off_policy_data_lead_to_the_optimum_and_without_the_contrast_do_not(rng) -> None:
    reward, reference, beta = jnp.array([1.0, 0.5, -0.5]), jnp.log(jnp.array([0.2, 0.3, 0.5])), 0.5
    optimum = jax.nn.log_softmax(reference + reward / beta)
    samples = jnp.asarray(rng.integers(0, 3, (400, 32, 4)))

    def train(loss):
        adam = optax.adam(0.05)

        def step(state, arms):
            logits, moments = state
            policy = lambda logits: jax.nn.log_softmax(logits)[arms]
            gradient = jax.grad(lambda logits: loss(policy(logits), reference[arms], reward[arms]).mean())(logits)
            updates, moments = adam.update(gradient, moments)
            return (logits + updates, moments), None

        (logits, _), _ = jax.lax.scan(step, (reference, adam.init(reference)), samples)
        log_prob = jax.nn.log_softmax(logits)
        return jnp.sum(jnp.exp(optimum) * (optimum - log_prob))

    def plain(log_prob, reference, reward):
        return -jax.lax.stop_gradient(reward - beta * (log_prob - reference)) * log_prob

    assert train(lambda *args: copg(*args, beta=beta, form="surrogate")) < 1e-5
    assert train(plain) > 1e-2
