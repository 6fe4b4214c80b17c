import jax
import jax.numpy as jnp
import numpy as np

from rlx.policies import target_policy_smoothing


def test_equals_the_formula_on_the_same_noise(rng) -> None:
    action, key = jnp.asarray(rng.uniform(-1, 1, (50, 2)), jnp.float32), jax.random.key(1)
    noise = np.asarray(jax.random.normal(key, action.shape, action.dtype))
    expected = np.clip(np.asarray(action) + np.clip(0.2 * noise, -0.5, 0.5), -1, 1)
    np.testing.assert_allclose(target_policy_smoothing(key, action), expected, rtol=1e-6)


def test_noise_and_its_clip_are_in_units_of_half_the_range() -> None:
    low, high = jnp.array([-1.0, 0.0, -jnp.inf]), jnp.array([1.0, 20.0, jnp.inf])
    action = jnp.broadcast_to(jnp.array([0.0, 10.0, 5.0]), (4000, 3))
    moved = target_policy_smoothing(jax.random.key(0), action, std=0.3, clip=0.5, low=low, high=high) - action
    np.testing.assert_allclose(jnp.abs(moved).max(0), [0.5, 5, 0.5], rtol=1e-4)
    np.testing.assert_allclose(moved.std(0) / jnp.array([1, 10, 1]), jnp.full(3, 0.283), rtol=0.05)


def test_without_noise_the_action_is_bounded_only() -> None:
    action = jnp.array([-3.0, 0.2, 1.5])
    np.testing.assert_allclose(target_policy_smoothing(jax.random.key(0), action, std=0.0), [-1, 0.2, 1], rtol=1e-6)
