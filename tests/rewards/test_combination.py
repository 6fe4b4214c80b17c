import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.rewards import combine_scores

NORMALIZED = {"min_max": lambda x: (x - x.min()) / (x.max() - x.min()), "z": lambda x: (x - x.mean()) / x.std()}


@pytest.mark.parametrize("scale", list(NORMALIZED))
def test_equals_a_loop(rng, check_gradient, scale) -> None:
    scores, mask = rng.normal(loc=3, scale=9, size=(2, 4, 5)), rng.random((4, 5)) < 0.7
    mask[0], mask[1], mask[2] = True, False, np.arange(5) == 1
    expected = np.zeros((4, 5))
    for i in (0, 3):
        expected[i, mask[i]] = sum(NORMALIZED[scale](x[i, mask[i]]) for x in scores) / 2
    poisoned = [jnp.asarray(np.where(mask, x, np.nan)) for x in scores]
    combined = combine_scores(*poisoned, scale=scale, where=jnp.asarray(mask))
    np.testing.assert_allclose(combined, expected, rtol=1e-9, atol=1e-12)
    check_gradient(jax.jit(lambda *args: combine_scores(*args, scale=scale)), *map(jnp.asarray, scores))


@pytest.mark.parametrize("scale", list(NORMALIZED))
def test_a_constant_score_says_nothing(scale) -> None:
    varied, constant = jnp.array([1.0, 2.0, 4.0]), jnp.full(3, 0.7)
    np.testing.assert_allclose(combine_scores(varied, constant, scale=scale), NORMALIZED[scale](varied) / 2, rtol=1e-6)
    np.testing.assert_array_equal(combine_scores(constant, constant, scale=scale), 0)
