import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import rewards
from rlx.returns import group_relative
from rlx.rewards import gated_bonus, unique_feature_rate

embedding_novelty = jax.jit(rewards.embedding_novelty, static_argnames="axis")


def test_embedding_novelty_oracle() -> None:
    embedding = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    np.testing.assert_allclose(embedding_novelty(embedding), [0.323223, 0.323223, 0.146447], atol=1e-6)


def test_embedding_novelty_equals_all_pairs(rng, float64) -> None:
    embedding = rng.normal(size=(2, 5, 3)) * 10.0 ** rng.integers(-30, 30, (2, 5, 1))
    unit = embedding / np.linalg.norm(embedding, axis=-1, keepdims=True)
    expected = np.zeros((2, 5))
    for b, i in np.ndindex(2, 5):
        expected[b, i] = np.mean([(1 - unit[b, i] @ unit[b, j]) / 2 for j in range(5) if j != i])
    np.testing.assert_allclose(embedding_novelty(jnp.asarray(embedding)), expected, rtol=1e-10)
    swapped = jnp.asarray(embedding).swapaxes(0, 1)
    np.testing.assert_allclose(embedding_novelty(swapped, axis=0).T, expected, rtol=1e-10)


def test_embedding_novelty_at_its_ends() -> None:
    vector = jnp.array([[1e25, -3e25, 2e25]])
    np.testing.assert_allclose(embedding_novelty(vector.repeat(4, 0)), 0, atol=1e-6)
    np.testing.assert_allclose(embedding_novelty(jnp.concatenate([vector, -1e-30 * vector])), 1, rtol=1e-6)
    np.testing.assert_array_equal(embedding_novelty(vector), 0)
    np.testing.assert_array_equal(embedding_novelty(jnp.zeros((3, 2))), 0.5)


def test_unique_feature_rate() -> None:
    present = jnp.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
    np.testing.assert_allclose(unique_feature_rate(present), [0.5, 0, 0])
    with pytest.raises(ValueError, match="present must be boolean"):
        unique_feature_rate.__wrapped__(present.astype(float))


def test_unique_feature_rate_equals_sets(rng) -> None:
    present = rng.random((3, 4, 6)) < 0.3
    rate = unique_feature_rate(jnp.asarray(present))
    for group, rates in zip(present, rate):
        sets = [set(np.nonzero(row)[0]) for row in group]
        for i, features in enumerate(sets):
            others = set().union(*sets[:i], *sets[i + 1 :])
            np.testing.assert_allclose(rates[i], len(features - others) / max(len(features), 1), rtol=1e-6)


def test_gated_bonus_is_for_successes_and_separates_a_group_of_them() -> None:
    reward, diversity = jnp.array([1.0, 1.0, 0.0, 1.0]), jnp.array([0.2, 0.9, 0.9, -1.0])
    bonus = gated_bonus(reward, diversity, reward > 0, coefficient=0.5, bound=0.6)
    np.testing.assert_allclose(bonus, [1.1, 1.3, 0, 1], rtol=1e-6)
    # The default bonus, too small to matter in the reward, decides the advantages of an all-correct group.
    solved = gated_bonus(jnp.ones(4), diversity, jnp.ones(4, bool))
    assert np.ptp(np.asarray(group_relative(solved))) > 1
