import jax
import jax.numpy as jnp
import numpy as np

from rlx.curriculum import guided_mode


def test_mix_has_the_given_share() -> None:
    mode = guided_mode(jax.random.key(0), jnp.arange(20_000), threshold=0.8)
    np.testing.assert_allclose(mode.mean(), 0.8, atol=0.01)


def test_switch_is_once_and_for_all() -> None:
    mode = guided_mode(jax.random.key(0), jnp.arange(6), rule="switch", threshold=4)
    np.testing.assert_array_equal(mode, [False] * 4 + [True] * 2)
