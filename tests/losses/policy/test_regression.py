import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.policy import advantage_regression
from rlx.returns import group_relative


def slope(log_prob, *args, **options):
    return jax.jit(jax.grad(lambda log_prob: advantage_regression(log_prob, *args, **options).sum()))(log_prob)


def numpy_standardized(log_prob, behavior, advantage, where, eps, ddof):
    loss = np.zeros_like(log_prob)
    for row in range(len(log_prob)):
        kept = np.flatnonzero(where[row])
        ratio = log_prob[row, kept] - behavior[row, kept]
        deviation = np.sqrt(((ratio - ratio.mean()) ** 2).sum() / (len(kept) - ddof) + eps**2)
        loss[row, kept] = 0.5 * (advantage[row, kept] - (ratio - ratio.mean()) / deviation) ** 2
    return loss


@pytest.fixture
def group(rng):
    where = np.array([[1, 1, 0, 1, 1], [1, 1, 1, 1, 1], [0, 1, 1, 0, 1]], bool)
    return *rng.normal(size=(3, 3, 5)), where


def test_step_oracle() -> None:
    arrays = jnp.array([-1.0, -2.0]), jnp.array([-1.2, -1.7]), jnp.array([0.01, -0.02])
    np.testing.assert_allclose(advantage_regression(*arrays, temperature=0.01), [0.32, 1.445], rtol=1e-5)
    np.testing.assert_allclose(slope(*arrays, temperature=0.01), [-0.8, 1.7], rtol=1e-5)


def test_standardized_oracle() -> None:
    arrays = (
        jnp.array([-5.0, -6.2, -4.1, -7.0]),
        jnp.array([-5.2, -6.0, -4.5, -7.1]),
        jnp.array([1.0, -1.0, 0.5, -0.5]),
    )
    loss = advantage_regression(*arrays, standardize=True)
    np.testing.assert_allclose(loss, [0.245, 0.045, 0.18, 0.08], rtol=1e-5)
    expected = [-3.12, 0.186667, 1.226667, 1.706667]
    np.testing.assert_allclose(slope(*arrays, standardize=True), expected, rtol=1e-4)


def test_standardized_equals_numpy_and_finite_differences(group, check_gradient) -> None:
    *numbers, where = group
    arrays, where = [jnp.asarray(x) for x in numbers], jnp.asarray(where)
    options = {"standardize": True, "eps": 0.1}
    for ddof in (0, 1):
        loss = advantage_regression(*arrays, where=where, ddof=ddof, **options)
        np.testing.assert_allclose(loss, numpy_standardized(*numbers, where, 0.1, ddof), rtol=1e-12)
    across = advantage_regression(*(x.T for x in arrays), where=where.T, axis=0, **options)
    np.testing.assert_allclose(across.T, loss, rtol=1e-12)
    check_gradient(lambda x: advantage_regression(x, *arrays[1:], where=where, **options), arrays[0])


def test_standardized_loss_is_the_missing_correlation(group, float64) -> None:
    log_prob, behavior, reward, _ = map(jnp.asarray, group)
    advantage = group_relative(reward, epsilon=0.0)
    for scale, shift in ((1.0, 0.0), (7.0, -3.0), (0.01, 20.0)):
        shifted = behavior + scale * (log_prob - behavior) + shift
        loss = advantage_regression(shifted, behavior, advantage, standardize=True)
        for row in range(3):
            correlation = np.corrcoef(reward[row], (log_prob - behavior)[row])[0, 1]
            np.testing.assert_allclose(loss[row].sum(), 4 * (1 - correlation), rtol=1e-9)
        gradient = slope(shifted, behavior, advantage, standardize=True)
        np.testing.assert_allclose(gradient.sum(-1), 0, atol=1e-9 / scale)


def test_a_log_ratio_affine_in_the_advantage_is_a_perfect_fit(group, float64) -> None:
    _, behavior, reward, _ = map(jnp.asarray, group)
    advantage = group_relative(reward, epsilon=0.0)
    loss = advantage_regression(behavior + 3 * advantage - 1, behavior, advantage, standardize=True)
    np.testing.assert_allclose(loss, 0, atol=1e-12)


def test_the_first_step_is_grpo_direction_and_equal_rewards_give_none() -> None:
    log_prob = jnp.full((2, 4), -40.3)
    advantage = jnp.array([[1.0, -1.0, 0.5, -0.5], [0.0, 0.0, 0.0, 0.0]])
    for behavior in (log_prob, log_prob + 50.1):  # a constant log-ratio has no spread, not even by rounding
        gradient = slope(log_prob, behavior, advantage, standardize=True, eps=1e-3)
        np.testing.assert_allclose(gradient, -advantage / 1e-3, rtol=1e-5)
    drifted = log_prob + jnp.arange(4.0)
    assert not np.any(advantage_regression(drifted, log_prob, advantage, standardize=True)[1])


def test_on_policy_gradient_is_that_of_the_regularized_objective(rng, float64) -> None:
    # Lemma 3.1 of step-level DAPO, with exact expectations over five actions.
    logits, reference, advantage = map(jnp.asarray, rng.normal(size=(3, 5)))
    reference, temperature = jax.nn.log_softmax(reference), 0.3

    def objective(logits):
        log_prob = jax.nn.log_softmax(logits)
        return jnp.sum(jnp.exp(log_prob) * (advantage - temperature * (log_prob - reference)))

    def regression(logits):
        log_prob = jax.nn.log_softmax(logits)
        loss = advantage_regression(log_prob, reference, advantage, temperature=temperature)
        return jnp.sum(jax.lax.stop_gradient(jnp.exp(log_prob)) * loss)

    np.testing.assert_allclose(-temperature * jax.grad(regression)(logits), jax.grad(objective)(logits), rtol=1e-9)


def test_the_minimum_is_the_tilted_reference(group, float64) -> None:
    _, reference, advantage, _ = map(jnp.asarray, group)
    tilted = reference + advantage / 0.02
    np.testing.assert_allclose(advantage_regression(tilted, reference, advantage, temperature=0.02), 0, atol=1e-20)
    # No advantage pulls to the reference, and only the ratio of advantage and temperature matters.
    np.testing.assert_allclose(slope(tilted, reference, jnp.zeros_like(advantage)), tilted - reference, rtol=1e-12)
    np.testing.assert_allclose(
        advantage_regression(tilted, reference, 3 * advantage, temperature=0.3),
        advantage_regression(tilted, reference, advantage, temperature=0.1),
        rtol=1e-12,
    )
