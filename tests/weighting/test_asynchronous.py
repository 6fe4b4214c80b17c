import jax.numpy as jnp
import numpy as np

from rlx.weighting import duration


def test_oracle() -> None:
    np.testing.assert_allclose(duration(jnp.array([1.0, 4.0, 10.0, 5.0])), [0.2, 0.8, 2, 1], rtol=1e-6)


def test_laws(rng, float64) -> None:
    seconds, where = jnp.asarray(rng.lognormal(size=(4, 6))), jnp.asarray(rng.random((4, 6)) < 0.6)
    weight = duration(seconds, where=where)
    np.testing.assert_allclose(weight.sum() / where.sum(), 1, rtol=1e-12)
    assert not np.any(weight[~where])
    np.testing.assert_allclose(duration(seconds / 3600, where=where), weight, rtol=1e-12)
    np.testing.assert_allclose(duration(jnp.full(5, 7.0)), 1, rtol=1e-12)
    np.testing.assert_allclose(duration(seconds, axis=0).mean(0), 1, rtol=1e-12)
    np.testing.assert_allclose(duration(seconds, max_weight=1.5), np.minimum(duration(seconds), 1.5), rtol=1e-12)


def test_gives_a_policy_over_time_its_counts_back(float64) -> None:
    # 600 seconds are shared out by the policy: arm 1, which takes ten times as long, is seen in 4 % of the rows.
    policy, seconds = np.array([0.7, 0.3]), np.array([1.0, 10.0])
    arm = np.repeat([0, 1], np.round(600 * policy / seconds).astype(int))
    weight = np.asarray(duration(jnp.asarray(seconds[arm])))
    np.testing.assert_allclose(np.bincount(arm) / len(arm), [420 / 438, 18 / 438])
    np.testing.assert_allclose(np.bincount(arm, weight) / len(arm), policy, rtol=1e-12)
