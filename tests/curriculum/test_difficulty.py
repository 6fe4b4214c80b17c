import jax.numpy as jnp
import numpy as np

from rlx.curriculum import relative_difficulty


def test_by_hand() -> None:
    reward = jnp.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]])
    np.testing.assert_allclose(relative_difficulty(reward, jnp.array(0.5)), [0.25, -0.5, 0], rtol=1e-6)
    usual = jnp.array([0.0, 1.0, 0.6])
    np.testing.assert_allclose(relative_difficulty(reward, usual), [-0.25, 0, 0.1], atol=1e-6)


def test_only_rollouts_that_count_do() -> None:
    reward = jnp.array([[1.0, jnp.nan, 0.0], [jnp.nan, jnp.nan, jnp.nan]])
    where = jnp.array([[True, False, True], [False, False, False]])
    np.testing.assert_allclose(relative_difficulty(reward, jnp.array(0.8), where=where), [0.3, 0], rtol=1e-6)
    across = relative_difficulty(reward.T, jnp.array([0.8, 0.8]), where=where.T, axis=0)
    np.testing.assert_allclose(across, [0.3, 0], rtol=1e-6)
