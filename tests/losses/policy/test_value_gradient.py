import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.policy import soft_value_maximization, value_maximization
from rlx.regularizers.behavior import action_distance


def test_td3_bc_oracle() -> None:
    q = jnp.array([2.0, -1.0, 3.0])
    np.testing.assert_allclose(value_maximization(q, alpha=2.5), [-2.5, 1.25, -3.75], rtol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda q: value_maximization(q, alpha=2.5).sum())(q), [-1.25] * 3, rtol=1e-6)
    np.testing.assert_allclose(value_maximization(q), -q)


def test_the_scale_counts_unmasked_elements_only(rng, float64) -> None:
    q, where = rng.normal(size=(4, 5)), rng.random((4, 5)) < 0.5
    expected = np.where(where, -2.5 * q / (np.abs(q)[where].sum() / where.sum() + 0.1), 0)
    q = jnp.asarray(np.where(where, q, np.nan))
    np.testing.assert_allclose(value_maximization(q, alpha=2.5, eps=0.1, where=jnp.asarray(where)), expected)


@pytest.mark.parametrize("factor", [1e-6, 3.0, 1e6])
def test_the_loss_does_not_change_with_the_scale_of_values(rng, factor) -> None:
    q = jnp.asarray(rng.normal(size=20), jnp.float32)
    loss = value_maximization(q, alpha=2.5)
    np.testing.assert_allclose(value_maximization(factor * q, alpha=2.5), loss, rtol=1e-5)


def test_values_of_zero_and_empty_masks_are_finite() -> None:
    for q, where in ((jnp.zeros(3), None), (jnp.full(3, jnp.nan), jnp.zeros(3, bool))):
        loss, slope = jax.value_and_grad(lambda q: value_maximization(q, alpha=2.5, where=where).sum())(q)
        assert loss == 0 and np.isfinite(slope).all()


def test_without_value_the_policy_of_td3_bc_clones(rng) -> None:
    q, action, data = jnp.asarray(rng.normal(size=4)), *jnp.asarray(rng.normal(size=(2, 4, 3)))
    loss = value_maximization(q, alpha=0.0) + action_distance(action, data)
    np.testing.assert_allclose(loss, action_distance(action, data))


def test_soft_value_maximization_oracle() -> None:
    arrays = jnp.array([0.5, 0.5]), jnp.array([2.0, jnp.nan])
    where = jnp.array([True, False])
    np.testing.assert_allclose(soft_value_maximization(*arrays, temperature=0.1, where=where), [-1.95, 0], rtol=1e-6)
    np.testing.assert_allclose(soft_value_maximization(*arrays, temperature=0.0, where=where), [-2, 0])
    gradients = jax.grad(
        lambda log_prob, q, temperature: soft_value_maximization(
            log_prob, q, temperature=temperature, where=where
        ).sum(),
        argnums=(0, 1, 2),
    )(*arrays, jnp.array(0.1))
    for gradient, expected in zip(gradients, ([0.1, 0], [-1, 0], 0), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-6)
