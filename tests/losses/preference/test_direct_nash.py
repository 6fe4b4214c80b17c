import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses.preference import dno, dpo, margin_pairs, win_rate_reward
from rlx.tabular import nash_md_step

PAIRS = (
    jnp.array([-12.0, -20.0, -7.5]),
    jnp.array([-14.0, -18.5, -9.0]),
    jnp.array([-13.0, -19.0, -8.0]),
    jnp.array([-13.5, -19.5, -7.0]),
)
REWARDS = jnp.array([0.8, 0.6, 0.5]), jnp.array([0.3, 0.6, 0.9])


def test_oracle() -> None:
    np.testing.assert_allclose(dno(*PAIRS, *REWARDS, eta=0.5), [0.670027, 0.813262, 1.000289], rtol=1e-5)


def test_equals_numpy_and_finite_differences(rng, check_gradient) -> None:
    logs, rewards, mask, eta = rng.uniform(-80, 0, (4, 9)), rng.normal(size=(2, 9)), rng.random(9) < 0.7, 0.2
    margin = eta * (logs[0] - logs[2] - logs[1] + logs[3])
    label = 1 / (1 + np.exp(rewards[1] - rewards[0]))
    expected = np.where(mask, label * np.logaddexp(0, -margin) + (1 - label) * np.logaddexp(0, margin), 0)
    arrays = [jnp.asarray(np.where(mask, x, np.nan)) for x in (*logs, *rewards)]
    np.testing.assert_allclose(dno(*arrays, eta=eta, where=jnp.asarray(mask)), expected, rtol=1e-12)
    arrays = [jnp.asarray(x) for x in (*logs, *rewards)]
    check_gradient(jax.jit(lambda *policy: dno(*policy, *arrays[2:], eta=eta)), *arrays[:2])


def test_label_limits() -> None:
    far = dno(*PAIRS, jnp.full(3, 200.0), jnp.zeros(3))
    np.testing.assert_allclose(far, dpo(*PAIRS), rtol=1e-6)
    slopes = jax.grad(lambda c: dno(c, *PAIRS[1:], *REWARDS).sum())(PAIRS[2] + PAIRS[1] - PAIRS[3])
    np.testing.assert_allclose(slopes[1], 0, atol=1e-7)


def test_expected_gradient_vanishes_at_soft_policy_iteration(rng, float64) -> None:
    preference = np.triu(rng.random((4, 4)), 1)
    preference += np.tril(1 - preference.T, -1) + np.eye(4) / 2
    behavior, eta = jax.nn.log_softmax(jnp.asarray(rng.normal(size=4))), 0.3
    reward = jnp.sum(preference * jnp.exp(behavior), -1)
    first, second = map(jnp.asarray, np.divmod(np.arange(16), 4))

    def expected_loss(logits):
        log_prob = jax.nn.log_softmax(logits)
        pairs = (x[index] for x in (log_prob, behavior, reward) for index in (first, second))
        return jnp.sum(jnp.exp(behavior[first] + behavior[second]) * dno(*pairs, eta=eta))

    def norm(logits):
        return np.abs(jax.jit(jax.grad(expected_loss))(logits)).max()

    improved = nash_md_step(behavior, behavior, jnp.asarray(preference), eta=1 / eta, tau=0.0)
    np.testing.assert_allclose(improved, jax.nn.log_softmax(behavior + reward / eta), rtol=1e-12)
    assert norm(improved) < 1e-15 < 1e-4 < norm(behavior)


def test_win_rate_reward_is_the_mean_over_valid_opponents() -> None:
    preference = jnp.array([[0.5, 0.9, 0.2], [0.1, 0.5, jnp.nan]])
    mask = jnp.array([[False, True, True], [True, False, False]])
    np.testing.assert_allclose(win_rate_reward(preference, where=mask), [0.55, 0.1], rtol=1e-6)
    np.testing.assert_allclose(win_rate_reward(preference.T, where=mask.T, axis=0), [0.55, 0.1], rtol=1e-6)


def test_margin_pairs() -> None:
    reward = jnp.array([[3.0, 1.0, 2.0], [5.0, 5.0, jnp.inf]])
    mask = jnp.array([[True, True, True], [True, True, False]])
    pairs = np.zeros((2, 3, 3), bool)
    pairs[0, 0, 1] = True
    np.testing.assert_array_equal(margin_pairs(reward, threshold=1.0, where=mask), pairs)
    pairs[0, 0, 2] = pairs[0, 2, 1] = True
    np.testing.assert_array_equal(margin_pairs(reward, threshold=0.5, where=mask), pairs)
    transposed = margin_pairs(reward.T, threshold=0.5, where=mask.T, axis=0)
    np.testing.assert_array_equal(transposed, np.moveaxis(pairs, 0, -1))
