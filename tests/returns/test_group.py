import jax.numpy as jnp
import numpy as np
import pytest

from rlx.returns import group_relative

REWARD = jnp.array([[1.0, 0, 0, 1], [1, 1, 1, 0], [0, 0, 0, 0]])


def test_lite_ppo_oracle() -> None:
    expected = [[0.971006, -0.971006, -0.971006, 0.971006], [0.485503, 0.485503, 0.485503, -1.45651], [0, 0, 0, 0]]
    np.testing.assert_allclose(group_relative(REWARD, scale="batch_std"), expected, rtol=2e-6)
    np.testing.assert_allclose(group_relative(REWARD[:1, :2]), [[0.707106, -0.707106]], rtol=3e-6)


def test_invariances(rng, float64) -> None:
    reward, shift = jnp.asarray(rng.normal(size=(5, 6))), jnp.asarray(rng.normal(size=(5, 1)))
    for scale in ("std", "none"):
        np.testing.assert_allclose(
            group_relative(reward + shift, scale=scale), group_relative(reward, scale=scale), rtol=1e-9, atol=1e-12
        )
    np.testing.assert_allclose(
        group_relative(3 * reward + 2, scale="batch_std", epsilon=0),
        group_relative(reward, scale="batch_std", epsilon=0),
    )


def test_leave_one_out_of_binary_rewards_is_the_reshaped_pass_rate() -> None:
    k, p = 4, 0.75
    advantage = group_relative(REWARD[1], center="leave_one_out", scale="none")
    expected = np.where(REWARD[1] > 0, k * (1 - p) / (k - 1), -k * p / (k - 1))
    np.testing.assert_allclose(advantage, expected, rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_leave_one_out_equals_numpy(rng, float64, axis) -> None:
    reward, where = rng.normal(size=(4, 6)), rng.random((4, 6)) < 0.6
    where[0], where[1] = np.arange(6) == 3, False
    expected = np.zeros((4, 6))
    for i, j in zip(*np.nonzero(where), strict=True):
        others = [reward[i, o] for o in range(6) if where[i, o] and o != j]
        expected[i, j] = reward[i, j] - np.mean(others) if others else 0
    arrays = jnp.asarray(np.moveaxis(reward, 1, axis)), jnp.asarray(np.moveaxis(where, 1, axis))
    advantage = group_relative(arrays[0], where=arrays[1], center="leave_one_out", scale="none", axis=axis)
    np.testing.assert_allclose(np.moveaxis(advantage, axis, 1), expected, rtol=1e-12, atol=1e-15)
