import jax
import jax.numpy as jnp
import numpy as np

from rlx import returns
from rlx.returns import group_relative

global_local = jax.jit(returns.global_local)

REWARD = jnp.array([[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]])
OUTCOME = jnp.array([[7, 1, 7, 2], [3, 4, 5, 6], [7, 7, 7, 7]])


def test_oracle() -> None:
    local, between, weight = global_local(REWARD, OUTCOME)
    np.testing.assert_allclose(
        local, [[0.866024, -0.866024, 0.866024, -0.866024], [0] * 4, [0.499999] * 3 + [-1.499997]], atol=2e-6
    )
    np.testing.assert_allclose(between, [0.218217, -1.091087, 0.872869], atol=2e-6)
    np.testing.assert_allclose(weight, [0.000100, 0.093290, 0], atol=1e-6)
    _, _, weight = global_local(REWARD, OUTCOME, sharpness=5.0, midpoint=1.0)
    np.testing.assert_allclose(weight, [0.549488, 0.873412, 0.006693], atol=1e-6)


def test_equals_numpy_with_masks(rng, float64) -> None:
    reward, outcome = rng.normal(size=(2, 3, 5)), rng.integers(0, 3, (2, 3, 5))
    where = rng.random((2, 3, 5)) < 0.7
    where[1, 2] = False
    local, between, weight = global_local(
        jnp.asarray(np.where(where, reward, np.nan)),
        jnp.asarray(outcome),
        sharpness=2.0,
        midpoint=0.5,
        where=jnp.asarray(where),
    )
    groups = [i for i in np.ndindex(2, 3) if where[i].any()]
    averages = {i: reward[i][where[i]].mean() for i in groups}
    center, width = np.mean(list(averages.values())), np.std(list(averages.values()), ddof=1)
    for i in groups:
        shares = np.unique(outcome[i][where[i]], return_counts=True)[1] / where[i].sum()
        entropy = -np.sum(shares * np.log(shares))
        np.testing.assert_allclose(weight[i], 1 / (1 + np.exp(-2 * (entropy - 0.5))), rtol=1e-10)
        np.testing.assert_allclose(between[i], (averages[i] - center) / (width + 1e-6), rtol=1e-10)
    assert between[1, 2] == 0
    np.testing.assert_allclose(local, group_relative(jnp.asarray(reward), where=jnp.asarray(where)))


def test_the_midpoint_decides_and_equal_groups_have_no_global_advantage() -> None:
    for midpoint, expected in ((-1e3, 1), (1e3, 0)):
        np.testing.assert_allclose(global_local(REWARD, OUTCOME, midpoint=midpoint)[2], expected)
    np.testing.assert_array_equal(global_local(REWARD[:1].repeat(3, 0), OUTCOME)[1], 0)
