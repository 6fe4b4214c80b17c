import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import returns

entropy_modulated = jax.jit(returns.entropy_modulated, static_argnames=("center", "axis"))

ADVANTAGE = jnp.array([1.0, -1.0])
ENTROPY = jnp.array([[0.2, 0.6, 1.0], [0.4, 0.8, jnp.nan]])
WHERE = jnp.array([[True, True, True], [True, True, False]])


def numpy_entropy_modulated(advantage, entropy, where, scale, future_scale, bonus, center):
    valid = entropy[where]
    h = (entropy - valid.min()) / (valid.max() - valid.min() + 1e-8)
    gain = np.exp(-scale * h) / (np.exp(-scale * h)[where].mean() + 1e-8)
    out = np.zeros_like(entropy)
    for i, t in zip(*np.nonzero(where)):
        out[i, t] = advantage[i, t] * gain[i, t]
        if t + 1 < where.shape[1] and where[i, t + 1]:
            out[i, t] += bonus * np.exp(-future_scale * h[i, t + 1])
    return np.where(where, out - center * out[where].mean(), 0)


@pytest.mark.parametrize(
    "center, expected",
    [
        (False, [[1.580437, 0.958583, 0.570254], [-1.183609, -0.732220, 0]]),
        (True, [[1.341748, 0.719894, 0.331565], [-1.422298, -0.970909, 0]]),
    ],
)
def test_oracle(center, expected) -> None:
    np.testing.assert_allclose(entropy_modulated(ADVANTAGE, ENTROPY, center=center, where=WHERE), expected, atol=1e-5)


def test_equals_numpy_along_either_axis(rng, float64) -> None:
    advantage, entropy, where = rng.normal(size=(5, 6)), rng.uniform(0, 3, (5, 6)), rng.random((5, 6)) < 0.7
    options = {"scale": 0.6, "future_scale": 1.7, "bonus": 0.3}
    for center in (True, False):
        expected = numpy_entropy_modulated(advantage, entropy, where, center=center, **options)
        arrays = [jnp.asarray(x) for x in (advantage, entropy, where)]
        one = entropy_modulated(*arrays[:2], where=arrays[2], center=center, **options)
        two = entropy_modulated(arrays[0].T, arrays[1].T, where=arrays[2].T, center=center, axis=0, **options)
        np.testing.assert_allclose(one, expected, rtol=1e-9)
        np.testing.assert_allclose(two.T, expected, rtol=1e-9)


def test_invariants(float64) -> None:
    modulated = lambda entropy, **options: entropy_modulated(ADVANTAGE, entropy, where=WHERE, **options)
    has_next = np.array([[1, 1, 0], [1, 0, 0]])
    plain = np.where(WHERE, ADVANTAGE[:, None], 0)
    equal = modulated(jnp.full((2, 3), 0.7), center=False)
    np.testing.assert_allclose(equal, plain + 0.05 * has_next, atol=1e-7)
    np.testing.assert_allclose(modulated(ENTROPY, scale=0, future_scale=0, bonus=0, center=False), plain, atol=1e-7)
    gain = entropy_modulated(jnp.ones(2), ENTROPY, where=WHERE, bonus=0, center=False)
    np.testing.assert_allclose(jnp.mean(gain, where=WHERE), 1, atol=1e-7)
    np.testing.assert_allclose(modulated(3 * ENTROPY + 2), modulated(ENTROPY), atol=1e-7)
    np.testing.assert_array_equal(entropy_modulated(ADVANTAGE, ENTROPY, where=jnp.zeros_like(WHERE)), 0)
