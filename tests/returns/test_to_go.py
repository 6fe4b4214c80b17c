import jax.numpy as jnp
import numpy as np

from rlx.returns import return_to_go


def test_oracle() -> None:
    np.testing.assert_allclose(return_to_go(jnp.array([1.0, 0.0, 2.0])), [3, 2, 2])


def test_equals_a_loop_within_each_episode(rng, float64) -> None:
    reward, ends = rng.normal(size=(3, 12)), rng.random((3, 12)) < 0.3
    expected = np.zeros((3, 12))
    for i in range(3):
        total = 0.0
        for t in reversed(range(12)):
            total = reward[i, t] + (0.0 if ends[i, t] else 0.9 * total)
            expected[i, t] = total
    discount = jnp.asarray(np.where(ends, 0, 0.9))
    np.testing.assert_allclose(return_to_go(jnp.asarray(reward), discount=discount, axis=1), expected, rtol=1e-12)


def test_in_evaluation_rewards_are_taken_off(rng, float64) -> None:
    reward = jnp.asarray(rng.normal(size=(8, 2)))
    target = return_to_go(reward)
    np.testing.assert_allclose(target[1:], (target - reward)[:-1], rtol=1e-12)


def test_reads_nothing_of_the_next_episode() -> None:
    reward, discount = jnp.array([1.0, 2.0, jnp.nan]), jnp.array([0.5, 0.0, 0.5])
    np.testing.assert_array_equal(return_to_go(reward, discount=discount), [2, 2, jnp.nan])
