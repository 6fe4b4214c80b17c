import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.regularizers import representation

bisimulation = jax.jit(representation.bisimulation, static_argnames="order")


@pytest.fixture
def pairs(rng):
    features, rewards = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5))
    return *features, *rewards, *rng.normal(size=(2, 5, 2)), *rng.uniform(0.1, 1, (2, 5, 2))


def test_oracle() -> None:
    pair = [jnp.array([x]) for x in ([0.0, 0.0], [3.0, 4.0])]
    pair += [jnp.array([x]) for x in (1.0, 2.0)]
    pair += [jnp.array([x]) for x in ([0.0, 1.0], [2.0, 1.0], [0.3, 0.3], [0.3, 0.3])]
    np.testing.assert_allclose(bisimulation(*pair, discount=0.9), [4.84], rtol=1e-6)
    np.testing.assert_allclose(bisimulation(*pair, discount=0.9, order=1), [(7 - 2.8) ** 2], rtol=1e-6)
    with pytest.raises(ValueError, match="order must be 1 or 2, got 3"):
        bisimulation(*pair, order=3)


def test_equals_numpy_and_finite_differences(pairs, check_gradient) -> None:
    z, other, r, other_r, mean, other_mean, scale, other_scale = pairs
    wasserstein = np.sqrt(np.sum((mean - other_mean) ** 2 + (scale - other_scale) ** 2, -1))
    target = np.abs(r - other_r) + 0.8 * wasserstein
    arrays, where = [jnp.asarray(x) for x in pairs], np.arange(5) != 1
    for order in (1, 2):
        expected = np.where(where, (np.linalg.norm(z - other, order, -1) - target) ** 2, 0)
        options = {"discount": 0.8, "order": order, "where": jnp.asarray(where)}
        np.testing.assert_allclose(bisimulation(*arrays, **options), expected, rtol=1e-12)
        check_gradient(jax.jit(lambda z, other, o=options: bisimulation(z, other, *arrays[2:], **o)), *arrays[:2])


def test_the_models_are_constant_and_pairs_are_symmetric(pairs, float64) -> None:
    arrays = [jnp.asarray(x) for x in pairs]
    slopes = jax.grad(lambda *x: bisimulation(*x).sum(), tuple(range(2, 8)))(*arrays)
    assert not any(np.any(x) for x in slopes)
    swapped = [arrays[i] for i in (1, 0, 3, 2, 5, 4, 7, 6)]
    np.testing.assert_allclose(bisimulation(*swapped), bisimulation(*arrays), rtol=1e-12)


def test_isometries_of_the_features_leave_the_loss(pairs, rng, float64) -> None:
    arrays = [jnp.asarray(x) for x in pairs]
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    moved = [x @ rotation + 2.0 for x in arrays[:2]]
    np.testing.assert_allclose(bisimulation(*moved, *arrays[2:]), bisimulation(*arrays), rtol=1e-10)


def test_identical_pairs_have_no_loss_and_equal_features_a_finite_gradient(pairs) -> None:
    arrays = [jnp.asarray(x, jnp.float32) for x in pairs]
    same = [x for x in arrays[::2] for _ in range(2)]
    np.testing.assert_array_equal(bisimulation(*same), 0)
    slope = jax.grad(lambda z: bisimulation(z, arrays[0], *arrays[2:]).sum())(arrays[0])
    np.testing.assert_array_equal(slope, 0)
