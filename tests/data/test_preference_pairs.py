import jax.numpy as jnp
import numpy as np
import pytest

from rlx.data import optimal_rejected_log_prob, reward_augmented_pairs, same_policy_triplets

TARGET, REFERENCE = np.log([0.6, 0.3, 0.1]), np.log([0.2, 0.3, 0.5])


@pytest.mark.parametrize(
    "beta, expected", [(1.0, [0.023256, 0.104651, 0.872093]), (0.5, [0.075298, 0.19563, 0.729071])]
)
def test_optimal_rejected_oracle(beta, expected) -> None:
    arrays = map(jnp.asarray, (REFERENCE, TARGET, REFERENCE))
    np.testing.assert_allclose(jnp.exp(optimal_rejected_log_prob(*arrays, beta=beta)), expected, rtol=1e-4)


def test_optimal_rejected_equals_numpy(rng, float64) -> None:
    chosen, target, reference = rng.uniform(-80, 0, (3, 2, 5))
    expected = np.exp(chosen) * (np.exp(reference) / np.exp(target)) ** 0.3
    arrays = [jnp.asarray(x) for x in (chosen, target, reference)]
    rejected = optimal_rejected_log_prob(*arrays, beta=0.3)
    np.testing.assert_allclose(jnp.exp(rejected), expected / expected.sum(-1, keepdims=True), rtol=1e-9)
    across = optimal_rejected_log_prob(*(x.T for x in arrays), beta=0.3, axis=0)
    np.testing.assert_allclose(across.T, rejected, rtol=1e-9)


def test_no_temperature_gives_the_chosen_sampler_and_its_support_is_kept() -> None:
    chosen = jnp.append(jnp.asarray(REFERENCE), -jnp.inf)
    others = [jnp.append(jnp.asarray(x), -jnp.inf) for x in (TARGET, REFERENCE)]
    np.testing.assert_allclose(optimal_rejected_log_prob(chosen, *others, beta=0.0), chosen, rtol=1e-5)
    assert jnp.isneginf(optimal_rejected_log_prob(chosen, *others)[3])


def test_reward_augmented_pairs_oracle() -> None:
    pairs = reward_augmented_pairs(jnp.array([9.0, 4.0, 7.5]), jnp.array([8.0, 1.0, 7.5]))
    np.testing.assert_array_equal(pairs["goal"], [9, 4, 7.5, 8, 1, 7.5])
    np.testing.assert_array_equal(pairs["swap"], [False] * 3 + [True] * 3)
    np.testing.assert_array_equal(pairs["index"], [0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(pairs["where"], [True, True, False] * 2)


def test_reward_augmented_pairs_are_ordered_by_the_goal(rng) -> None:
    rewards = np.sort(rng.normal(size=(8, 2)).astype(np.float32), -1)
    pairs = reward_augmented_pairs(jnp.asarray(rewards[:, 1]), jnp.asarray(rewards[:, 0]))
    chosen, rejected = rewards[pairs["index"], 1], rewards[pairs["index"], 0]
    chosen, rejected = np.where(pairs["swap"], (rejected, chosen), (chosen, rejected))
    np.testing.assert_array_equal(-((pairs["goal"] - chosen) ** 2), 0)
    assert (-((pairs["goal"] - rejected) ** 2) < 0).all()
    half = reward_augmented_pairs(*(jnp.asarray(x, jnp.bfloat16) for x in rewards.T))
    assert half["goal"].dtype == jnp.bfloat16


def test_same_policy_triplets(rng) -> None:
    policy = rng.integers(0, 3, (2, 5))
    mask = same_policy_triplets(jnp.asarray(policy))
    for b, i, j, k in np.ndindex(2, 5, 5, 5):
        expected = i != j and policy[b, i] == policy[b, j] and policy[b, i] != policy[b, k]
        assert mask[b, i, j, k] == expected
