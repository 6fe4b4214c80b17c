import jax
import jax.numpy as jnp
import numpy as np

from rlx import weighting
from rlx.weighting import top_fraction

trajectory_weight = jax.jit(weighting.trajectory_weight, static_argnames="rescale")

RETURN, LENGTH = jnp.array([10.0, 50.0, 100.0]), jnp.array([5, 10, 20])


def numpy_weight(episode_return, length, baseline, temperature, rescale):
    x = episode_return - baseline
    if rescale:
        x = (x - x.min()) / (x.max() - x.min())
    mass = np.exp(x / temperature)
    return mass / np.sum(length * mass)


def test_oracle() -> None:
    np.testing.assert_allclose(trajectory_weight(RETURN, length=LENGTH), [2e-6, 1.93e-4, 0.049903], atol=5e-7)
    advantage_weighted = trajectory_weight(
        RETURN, length=LENGTH, baseline=jnp.array([0.0, 30.0, 110.0]), temperature=0.5
    )
    np.testing.assert_allclose(advantage_weighted, [0.033614, 0.065472, 0.008861], atol=1e-6)


def test_equals_numpy_with_a_mask(rng, float64) -> None:
    episode_return, baseline = rng.normal(size=(2, 3, 6))
    length, where = rng.integers(1, 30, (3, 6)), rng.random((3, 6)) < 0.7
    where[2] = False
    for rescale in (True, False):
        weight = trajectory_weight(
            jnp.asarray(episode_return),
            length=jnp.asarray(length),
            baseline=jnp.asarray(baseline),
            temperature=0.4,
            rescale=rescale,
            where=jnp.asarray(where),
        )
        for row in range(2):
            kept = where[row]
            arrays = (x[row, kept] for x in (episode_return, length, baseline))
            np.testing.assert_allclose(weight[row, kept], numpy_weight(*arrays, 0.4, rescale), rtol=1e-12)
        np.testing.assert_allclose((weight * length).sum(-1), [1, 1, 0], rtol=1e-12)
        assert not np.any(np.where(where, 0, weight))


def test_limits_and_invariances() -> None:
    weight = lambda episode_return=RETURN, **options: trajectory_weight(episode_return, length=LENGTH, **options)
    np.testing.assert_allclose(weight(3 * RETURN - 70), weight(), rtol=1e-4)
    np.testing.assert_allclose(weight(temperature=1e6), jnp.full(3, 1 / 35), rtol=1e-4)
    np.testing.assert_allclose(weight(temperature=1e-4), [0, 0, 1 / 20], rtol=1e-6)
    np.testing.assert_allclose(
        weight(temperature=1e-4), top_fraction(RETURN, length=LENGTH.astype(float), fraction=0.34), rtol=1e-6
    )
    np.testing.assert_allclose(weight(jnp.full(3, 0.1)), jnp.full(3, 1 / 35), rtol=1e-6)
    np.testing.assert_allclose(trajectory_weight(RETURN).sum(), 1, rtol=1e-6)
