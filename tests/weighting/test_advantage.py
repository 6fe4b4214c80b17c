import jax
import jax.numpy as jnp
import numpy as np

from rlx.weighting import advantage_weight


def test_oracles() -> None:
    advantage = jnp.array([-1.0, 0.0, 0.5, 5.0])
    np.testing.assert_allclose(advantage_weight(advantage), [0.049787, 1, 4.481689, 100], rtol=1e-5)
    np.testing.assert_allclose(advantage_weight(jnp.array(0.5), beta=1 / 2.0), 1.284025, rtol=1e-6)
    np.testing.assert_allclose(advantage_weight(advantage, kind="relu", max_weight=3.0), [0, 0, 0.5, 3])
    np.testing.assert_allclose(advantage_weight(advantage, kind="binary"), [0, 0, 1, 1])


def test_equals_numpy(rng, float64) -> None:
    advantage = rng.normal(size=50)
    expected = [min(np.exp(4 * a), 20.0) for a in advantage]
    np.testing.assert_allclose(advantage_weight(jnp.asarray(advantage), beta=4.0, max_weight=20.0), expected)


def test_extremes_are_bounded_and_have_no_gradient() -> None:
    advantage = jnp.array([1e4, -1e4, jnp.inf, -jnp.inf])
    for kind, expected in (("exp", [100, 0, 100, 0]), ("relu", [100, 0, 100, 0]), ("binary", [1, 0, 1, 0])):
        weight = lambda a, kind=kind: advantage_weight(a, kind=kind)
        np.testing.assert_allclose(weight(advantage), expected)
        assert not jax.grad(lambda a, weight=weight: weight(a).sum())(advantage).any()
    assert not jax.grad(lambda beta: advantage_weight(jnp.ones(3), beta=beta).sum())(1.0).any()


def test_no_temperature_is_behavior_cloning(rng) -> None:
    np.testing.assert_allclose(advantage_weight(jnp.asarray(rng.normal(size=5)), beta=0.0), 1)
