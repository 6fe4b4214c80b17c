import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import returns

amplified = jax.jit(returns.amplified, static_argnames=("baseline", "axis"))


def test_oracle() -> None:
    np.testing.assert_allclose(amplified(jnp.array([0.1, 0.5, 0.6, 1.0])), [-0.45, -0.05, 0.15, 1], atol=1e-6)


@pytest.mark.parametrize("baseline", ["mean", "logavgexp"])
def test_equals_numpy_with_masks(rng, float64, baseline) -> None:
    reward, where = rng.uniform(-1, 1.3, (6, 5)), rng.random((6, 5)) < 0.7
    where[0], where[1] = False, np.arange(5) == 2
    expected = np.zeros((6, 5))
    for group, mask, out in zip(reward, where, expected):
        kept = group[mask]
        offset = kept.mean() if kept.size else 0
        if baseline == "logavgexp" and kept.size:
            offset = 0.3 * np.log(np.mean(np.exp(kept / 0.3)))
        for i in np.nonzero(mask)[0]:
            score = group[i] - (offset if mask.sum() > 1 else 0)
            out[i] = 1 if group[i] >= 0.9 else (2.5 * score if score >= 0 else score)
    options = {"factor": 2.5, "success": 0.9, "baseline": baseline, "temperature": 0.3}
    poisoned, mask = jnp.asarray(np.where(where, reward, np.nan)), jnp.asarray(where)
    np.testing.assert_allclose(amplified(poisoned, where=mask, **options), expected, rtol=1e-9)
    np.testing.assert_allclose(amplified(poisoned.T, where=mask.T, axis=0, **options).T, expected, rtol=1e-9)


def test_invariants() -> None:
    reward = jnp.array([[0.0, 0.3, 0.6], [0.4, 0.4, 0.4], [1.0, 1.0, 1.0]])
    np.testing.assert_allclose(amplified(reward[:2], factor=1.0), [[-0.3, 0, 0.3], [0, 0, 0]], atol=1e-7)
    np.testing.assert_array_equal(amplified(reward[2]), 1)
    one, three = amplified(reward[0], factor=1.0), amplified(reward[0])
    np.testing.assert_allclose(three, jnp.where(one > 0, 3 * one, one), rtol=1e-6)
    # Positive amplification never turns a success of an easy group into more than 1.
    np.testing.assert_array_equal(amplified(jnp.array([0.0, 0.0, 0.0, 0.0, 1.0]))[-1], 1)
