import jax
import jax.numpy as jnp
import numpy as np

from rlx.data import prefix_mask, reset_lengths


def test_prefix_mask_oracle() -> None:
    mask = prefix_mask(jnp.array([0, 3, 5]), horizon=5)
    np.testing.assert_array_equal(mask, [[False] * 5, [True] * 3 + [False] * 2, [True] * 5])


def test_the_two_ways_to_learn_from_a_guide_update_complementary_tokens() -> None:
    prefix = prefix_mask(jnp.array(2), horizon=5)
    np.testing.assert_array_equal(~prefix, [False, False, True, True, True])
    np.testing.assert_array_equal(prefix, [True, True, False, False, False])


def test_reset_lengths_are_uniform_over_proper_prefixes() -> None:
    length = jnp.tile(jnp.array([0, 1, 2, 6]), (20_000, 1))
    kept = np.asarray(reset_lengths(jax.random.key(0), length))
    assert not kept[:, :2].any() and (kept[:, 2] == 1).all()
    np.testing.assert_allclose(np.bincount(kept[:, 3], minlength=7) / 20_000, [0, *[0.2] * 5, 0], atol=0.01)


def test_reset_probability() -> None:
    kept = reset_lengths(jax.random.key(1), jnp.full(20_000, 9), probability=0.3)
    np.testing.assert_allclose((kept > 0).mean(), 0.3, atol=0.01)
    np.testing.assert_allclose(kept[kept > 0].mean(), 4.5, atol=0.1)
    assert not reset_lengths(jax.random.key(1), jnp.full(99, 9), probability=0.0).any()
