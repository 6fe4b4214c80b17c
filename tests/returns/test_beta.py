import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import beta

from rlx import returns
from rlx.returns import group_relative

beta_normalized = jax.jit(returns.beta_normalized, static_argnames="axis")


def numpy_beta_normalized(reward, where, low=0.0, high=1.0, max_weight=1e6):
    scaled = (reward - low) / (high - low)
    rates = {q: scaled[q][where[q]].mean() for q in range(len(scaled)) if where[q].any()}
    m, v = np.mean(list(rates.values())), np.var(list(rates.values()), ddof=1)
    a, b = (m * (1 - m) / v - 1) * m, (m * (1 - m) / v - 1) * (1 - m)
    advantage = np.zeros_like(scaled)
    for q, p in rates.items():
        density = beta.pdf(p, max(1, 1 + a / 3), max(1, 1 + b / 3))
        weight = min(1 / density, max_weight) if density > 0 else max_weight
        advantage[q] = np.where(where[q], weight * (scaled[q] - p), 0)
    return advantage


def test_oracle() -> None:
    reward = jnp.array([[1.0, 0, 0, 1], [1, 1, 1, 0], [0, 0, 0, 1]])
    expected = [
        [0.392699, -0.392699, -0.392699, 0.392699],
        [0.226725, 0.226725, 0.226725, -0.680175],
        [-0.226725, -0.226725, -0.226725, 0.680175],
    ]
    np.testing.assert_allclose(beta_normalized(reward), expected, rtol=2e-6)
    np.testing.assert_allclose(beta_normalized(5 * reward.T - 2, low=-2, high=3, axis=0).T, expected, rtol=2e-6)


@pytest.mark.parametrize("center", [0.5, 0.9])
def test_equals_numpy(rng, float64, center) -> None:
    reward = (rng.random((7, 8)) < center + 0.1 * rng.normal(size=(7, 1))).astype(float)
    reward[0] = 1
    where = rng.random((7, 8)) < 0.7
    where[3], where[4] = False, np.arange(8) == 2
    advantage = beta_normalized(jnp.asarray(3 * reward - 1), low=-1, high=2, where=jnp.asarray(where))
    np.testing.assert_allclose(advantage, numpy_beta_normalized(reward, where), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(advantage.sum(-1), 0, atol=1e-10)
    mirrored = beta_normalized(jnp.asarray(1 - reward), where=jnp.asarray(where))
    np.testing.assert_allclose(mirrored, -advantage, rtol=1e-9, atol=1e-12)


def test_widely_spread_rates_give_the_centered_reward() -> None:
    reward = jnp.array([[1.0, 1, 1, 1], [0, 0, 0, 1]])
    np.testing.assert_allclose(beta_normalized(reward), group_relative(reward, scale="none"), rtol=1e-6)


def test_rates_without_spread_have_weight_one() -> None:
    thirds = jnp.array([[0.1, 0.7, 0.7], [0.7, 0.7, 0.1], [0.7, 0.1, 0.7]])
    for reward in (thirds, jnp.ones((3, 3)), jnp.zeros((3, 3)), thirds[:1]):
        np.testing.assert_allclose(beta_normalized(reward), group_relative(reward, scale="none"), rtol=1e-6, atol=1e-7)


def test_bfloat16_is_fitted_in_float32() -> None:
    reward = jnp.array([[1.0, 0, 0, 1], [1, 1, 1, 0], [0, 0, 0, 1]], jnp.bfloat16)
    np.testing.assert_allclose(beta_normalized(reward)[0, 0].astype(jnp.float32), 0.392699, rtol=4e-3)
