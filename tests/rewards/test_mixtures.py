import jax
import jax.numpy as jnp
import numpy as np

from rlx.rewards import effective_reward, format_mixture, partial_credit


def test_format_mixture_oracle() -> None:
    correct, formatted = jnp.array([1.0, 0.0, 1.0, 0.0]), jnp.array([1.0, 1.0, 0.0, 0.0])
    np.testing.assert_allclose(format_mixture(correct, formatted), [1, 0.1, 0.9, 0], rtol=1e-6)
    np.testing.assert_allclose(format_mixture(correct, formatted, format_weight=0.0), correct)


def test_effective_reward_breaks_ties_and_nothing_else() -> None:
    reward = jnp.array([[[1.0, 0.3], [1.0, 0.8], [0.0, 9.0]]])  # [state, action, component]
    for epsilon in (0.1, 1e-3, 1e-5):
        total = effective_reward(reward, jnp.array([[[1.0, epsilon]]]))
        np.testing.assert_allclose(total, reward[..., 0] + epsilon * reward[..., 1], rtol=1e-6)
        assert jnp.argmax(total) == 1
    np.testing.assert_allclose(effective_reward(reward.T, jnp.ones((2, 1, 1)), axis=0), reward.sum(-1).T)


def test_partial_credit_by_hand() -> None:
    score, valid = jnp.array([jnp.nan, jnp.nan, -0.9, 0.4]), jnp.array([False, False, True, True])
    marker = jnp.array([[False] * 7, [True] * 3 + [False] * 4, [True] * 7, [False] * 7])
    np.testing.assert_allclose(partial_credit(score, valid, marker), [-10, -9.7, -0.9, 0.4], rtol=1e-6)
    gradient = jax.grad(lambda score: partial_credit(score, valid, marker).sum())(score)
    np.testing.assert_allclose(gradient, [0, 0, 1, 1])
    np.testing.assert_allclose(
        partial_credit(score, valid, marker, failure=-2.0, bonus=0.2), [-2, -1.4, -0.9, 0.4], rtol=1e-6
    )
