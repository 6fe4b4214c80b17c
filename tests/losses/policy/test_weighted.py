import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.policy import clipped_surrogate, importance_weighted, policy_gradient, unified_gradient


def slope(function, log_prob, *args, **options):
    return jax.jit(jax.grad(lambda log_prob: function(log_prob, *args, **options).sum()))(log_prob)


@pytest.fixture
def batch(rng):
    return (*rng.uniform(-2, 0, (2, 50)), rng.normal(size=50))


def test_unified_gradient_oracle() -> None:
    arrays = jnp.array([-0.5, -1, -2]), jnp.array([-0.5, -1.2, 0]), jnp.array([1, -0.5, 1])
    for function in (unified_gradient, lambda *args: slope(unified_gradient, *args)):
        np.testing.assert_allclose(function(*arrays), [-1, 0.610701, -0.135335], rtol=1e-5)


def test_rows_of_the_table(batch, check_gradient) -> None:
    log_prob, behavior, advantage = map(jnp.asarray, batch)
    np.testing.assert_allclose(slope(unified_gradient, log_prob, log_prob, advantage), -advantage)
    np.testing.assert_allclose(slope(unified_gradient, log_prob, log_prob, jnp.ones(50)), -1)
    unclipped = clipped_surrogate(log_prob, behavior, advantage, clip_low=1.0, clip_high=jnp.inf)
    np.testing.assert_allclose(unified_gradient(log_prob, behavior, advantage), unclipped, rtol=1e-12)
    check_gradient(jax.jit(lambda x: unified_gradient(x, behavior, advantage)), log_prob)


def test_the_clipped_side_as_a_mask_is_ppo(batch, float64) -> None:
    log_prob, behavior, advantage = map(jnp.asarray, batch)
    ratio = jnp.exp(log_prob - behavior)
    stable = jnp.where(advantage > 0, ratio < 1.2, ratio > 0.8)
    np.testing.assert_allclose(
        slope(unified_gradient, log_prob, behavior, advantage, where=stable),
        slope(clipped_surrogate, log_prob, behavior, advantage),
        rtol=1e-12,
    )


def test_importance_weighted_equals_numpy(batch, float64) -> None:
    log_prob, behavior, advantage = batch
    weight = np.minimum(np.exp(log_prob - behavior), 1.3)
    arrays = list(map(jnp.asarray, batch))
    loss = importance_weighted(*arrays, max_ratio=1.3)
    np.testing.assert_allclose(loss, -weight * advantage * log_prob, rtol=1e-12)
    np.testing.assert_allclose(slope(importance_weighted, *arrays, max_ratio=1.3), -weight * advantage, rtol=1e-12)
    # Without truncation the gradient is that of the ratio surrogate, on-policy that of the policy gradient.
    np.testing.assert_allclose(slope(importance_weighted, *arrays), slope(unified_gradient, *arrays), rtol=1e-12)
    on_policy = arrays[0], arrays[0], arrays[2]
    np.testing.assert_allclose(slope(importance_weighted, *on_policy), slope(policy_gradient, arrays[0], arrays[2]))


def test_truncation_keeps_the_gradient_that_clipping_drops() -> None:
    far = jnp.array([-0.1]), jnp.array([-3.0]), jnp.array([2.0])
    assert slope(clipped_surrogate, *far) == 0
    np.testing.assert_allclose(slope(importance_weighted, *far, max_ratio=1.28), -2.56, rtol=1e-6)
