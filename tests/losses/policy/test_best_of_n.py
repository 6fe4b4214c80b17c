import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.policy import best_of_n


def slope(log_prob, *args, **options):
    return jax.jit(jax.grad(lambda log_prob: best_of_n(log_prob, *args, **options).sum()))(log_prob)


def test_oracle() -> None:
    arrays = jnp.array([-1.0, -2.0, -3.0]), jnp.array([0.0, 1.0, 0.5])
    np.testing.assert_allclose(best_of_n(*arrays, negative_weight=0.5), 1.0, rtol=1e-6)
    np.testing.assert_allclose(slope(*arrays, negative_weight=0.5), [0.25, -1, 0.25])
    np.testing.assert_array_equal(slope(*arrays), [0, -1, 0])


@pytest.mark.parametrize("negatives", ["mean", "sum", "worst"])
def test_equals_a_loop_over_groups(rng, float64, negatives) -> None:
    log_prob, reward, mask = rng.uniform(-80, 0, (6, 5)), rng.normal(size=(6, 5)), rng.random((6, 5)) < 0.6
    mask[0], mask[1], mask[2] = True, False, np.arange(5) == 3
    weight, expected = 0.7, np.zeros(6)
    for i in range(6):
        ranked = sorted(np.flatnonzero(mask[i]), key=lambda j, i=i: -reward[i, j])
        if ranked:
            best, others = ranked[0], [log_prob[i, j] for j in ranked[1:]]
            pushed = {"mean": np.mean, "sum": np.sum, "worst": lambda x: x[-1]}[negatives](others) if others else 0
            expected[i] = -log_prob[i, best] + weight * pushed
    poisoned = np.where(mask, reward, np.inf)
    options = {"negative_weight": weight, "negatives": negatives}
    loss = best_of_n(jnp.asarray(log_prob), jnp.asarray(poisoned), where=jnp.asarray(mask), **options)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    across = best_of_n(jnp.asarray(log_prob.T), jnp.asarray(poisoned.T), where=jnp.asarray(mask.T), axis=0, **options)
    np.testing.assert_allclose(across, expected, rtol=1e-12)


def test_gradient_of_the_best_is_one_and_is_shared_by_the_others(rng) -> None:
    log_prob, reward = jnp.asarray(rng.uniform(-3, 0, (3, 4))), jnp.asarray(rng.normal(size=(3, 4)))
    best = np.argmax(reward, -1)[:, None] == np.arange(4)
    np.testing.assert_allclose(slope(log_prob, reward, negative_weight=0.6), np.where(best, -1, 0.2), rtol=1e-6)


def test_equal_rewards_take_the_first_and_push_another() -> None:
    arrays = jnp.array([-1.0, -2.0, -3.0]), jnp.zeros(3)
    np.testing.assert_array_equal(slope(*arrays, negative_weight=1.0, negatives="worst"), [-1, 1, 0])
