import itertools

import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses.preference import pair_loss
from rlx.rewards import discriminative_reward_loss, ranking_reward_loss


def test_discriminative_oracle() -> None:
    same, different = jnp.array([1.0, -2.0]), jnp.array([0.0, 0.5])
    np.testing.assert_allclose(discriminative_reward_loss(same, different), [0.313262, 2.57889], rtol=1e-5)


def test_discriminative_is_the_logistic_pair_loss_and_its_slope_is_the_error(rng) -> None:
    same, different = map(jnp.asarray, rng.normal(scale=30, size=(2, 20)))
    loss = discriminative_reward_loss(same, different)
    np.testing.assert_allclose(loss, pair_loss(same - different), rtol=1e-6)
    slopes = jax.grad(lambda x: discriminative_reward_loss(x, different).sum())(same)
    np.testing.assert_allclose(slopes, -jax.nn.sigmoid(different - same), rtol=1e-5, atol=1e-30)


def test_ranking_equals_a_loop_over_pairs(rng, check_gradient) -> None:
    reward, rank, mask = rng.normal(size=(4, 5)), rng.integers(0, 4, (4, 5)), rng.random((4, 5)) < 0.7
    mask[0], mask[1], rank[2] = True, False, 1
    expected = np.zeros(4)
    for n in range(4):
        terms = [
            np.logaddexp(0, reward[n, j] - reward[n, i])
            for i, j in itertools.permutations(np.flatnonzero(mask[n]), 2)
            if rank[n, i] < rank[n, j]
        ]
        expected[n] = np.mean(terms) if terms else 0
    poisoned, options = jnp.asarray(np.where(mask, reward, np.inf)), {"where": jnp.asarray(mask)}
    np.testing.assert_allclose(ranking_reward_loss(poisoned, jnp.asarray(rank), **options), expected, rtol=1e-12)
    across = ranking_reward_loss(poisoned.T, jnp.asarray(rank.T), axis=0, where=options["where"].T)
    np.testing.assert_allclose(across, expected, rtol=1e-12)
    check_gradient(jax.jit(lambda x: ranking_reward_loss(x, jnp.asarray(rank), **options)), jnp.asarray(reward))


def test_ranking_of_two_is_one_comparison() -> None:
    loss = ranking_reward_loss(jnp.array([0.5, -2.0]), jnp.array([2, 1]))
    np.testing.assert_allclose(loss, discriminative_reward_loss(jnp.array(-2.0), jnp.array(0.5)), rtol=1e-6)
