import jax.numpy as jnp
import numpy as np

from rlx.rewards import self_correction


def test_oracle() -> None:
    first, second = jnp.array([0.0, 1, 1, 0]), jnp.array([1.0, 0, 1, 0])
    np.testing.assert_allclose(self_correction(first, second), [11, -10, 1, 0])


def test_limits(rng) -> None:
    first, second = jnp.asarray(rng.normal(size=(2, 3, 4)), jnp.float32)
    np.testing.assert_array_equal(self_correction(first, second, coefficient=0), second)
    np.testing.assert_array_equal(self_correction(second, second), second)
    # What a flip gains beyond the reward itself, the opposite flip loses.
    bonus = self_correction(first, second) - second
    np.testing.assert_allclose(bonus, -(self_correction(second, first) - first), rtol=1e-6)
