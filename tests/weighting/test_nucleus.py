import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.weighting import nucleus_threshold


def numpy_threshold(logits, top_p):
    probability = np.exp(logits - logits.max())
    probability /= probability.sum()
    order = np.argsort(-probability)
    return logits[order[np.searchsorted(np.cumsum(probability[order]), top_p)]]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_equals_a_sort(rng, float64, dtype) -> None:
    logits = jnp.asarray(rng.normal(size=(40, 30)) * rng.choice([0.1, 1, 20], size=(40, 1)), dtype)
    call = jax.jit(lambda top_p: nucleus_threshold(logits, top_p=top_p))
    for top_p in (0.01, 0.5, 0.83, 0.99):
        found = call(top_p)
        assert found.dtype == dtype
        expected = [numpy_threshold(row, top_p) for row in np.asarray(logits, float)]
        np.testing.assert_array_equal(np.asarray(found, float), expected)


def test_sweeps_and_other_axes(rng) -> None:
    logits = jnp.asarray(rng.normal(size=(20, 3)), jnp.float32)
    found = jax.vmap(lambda p: nucleus_threshold(logits, top_p=p, axis=0))(jnp.array([0.2, 0.9]))
    expected = [[numpy_threshold(row, p) for row in np.asarray(logits, float).T] for p in (0.2, 0.9)]
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


def test_unavailable_actions_and_zeros_of_both_signs() -> None:
    assert nucleus_threshold(jnp.array([-jnp.inf, 0.0, -0.0, -jnp.inf]), top_p=0.7) == 0
    assert nucleus_threshold(jnp.array([-jnp.inf, 3.0]), top_p=0.7) == 3
    assert nucleus_threshold(jnp.array([-1.0, 2.0]), top_p=2.0) == -jnp.inf
