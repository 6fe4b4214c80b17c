import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.weighting import top_fraction


def test_oracle() -> None:
    weight = top_fraction(jnp.array([10.0, 50.0, 100.0]), length=jnp.array([5.0, 10.0, 20.0]), fraction=0.34)
    np.testing.assert_allclose(weight, [0, 0, 0.05], rtol=1e-6)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.55, 1.0])
def test_equals_a_sort_and_sums_to_one(rng, float64, fraction) -> None:
    value, length = rng.integers(0, 8, 20).astype(float), rng.integers(1, 9, 20).astype(float)
    best = sorted(range(20), key=lambda i: -value[i])[: max(1, int(20 * fraction))]
    expected = np.array([(i in best) / sum(length[j] for j in best) for i in range(20)])
    weight = top_fraction(jnp.asarray(value), length=jnp.asarray(length), fraction=fraction)
    np.testing.assert_allclose(weight, expected, rtol=1e-12)
    np.testing.assert_allclose(np.sum(weight * length), 1)


def test_counts_do_not_suffer_from_rounding() -> None:
    # 100 · 0.29 is 28.999999999999996 in double precision.
    assert (top_fraction(jnp.arange(100.0), fraction=0.29) > 0).sum() == 29
    assert (top_fraction(jnp.arange(1000.0, dtype=jnp.bfloat16), fraction=jnp.float32(0.1)) > 0).sum() == 100


def test_fractions_can_be_swept() -> None:
    kept = jax.vmap(lambda fraction: (top_fraction(jnp.arange(10.0), fraction=fraction) > 0).sum())(
        jnp.linspace(0, 1, 6)
    )
    np.testing.assert_array_equal(kept, [1, 2, 4, 6, 8, 10])
