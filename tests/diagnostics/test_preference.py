import jax.numpy as jnp
import numpy as np

from rlx.diagnostics import goodhart_curve, likelihood_displacement, preference_accuracy, unseen_mass


def test_preference_accuracy_oracle() -> None:
    accuracy = preference_accuracy(jnp.array([0.3, -1.0, 2.0]), jnp.array([0.1, 0.0, 2.0]))
    np.testing.assert_array_equal(accuracy, [1, 0, 0.5])
    masked = preference_accuracy(jnp.array([jnp.nan, 1.0]), jnp.zeros(2), where=jnp.array([False, True]))
    np.testing.assert_array_equal(masked, [0, 1])


def test_goodhart_curve_is_the_best_within_each_budget(rng) -> None:
    kl, score = rng.integers(0, 6, (3, 12)).astype(np.float32), rng.normal(size=(3, 12)).astype(np.float32)
    budget, envelope = goodhart_curve(jnp.asarray(kl), jnp.asarray(score))
    np.testing.assert_array_equal(budget, np.sort(kl, -1))
    for row in range(3):
        best = [score[row][kl[row] <= b].max() for b in np.sort(kl[row])]
        np.testing.assert_array_equal(envelope[row], best)
    across = goodhart_curve(jnp.asarray(kl.T), jnp.asarray(score.T), axis=0)
    np.testing.assert_array_equal(across, [np.transpose(budget), np.transpose(envelope)])


def test_likelihood_displacement() -> None:
    arrays = jnp.array([-12.0, -20.0]), jnp.array([-14.0, jnp.inf]), jnp.array([-13.0, -19.0]), jnp.array([-10.0, 0.0])
    moved = likelihood_displacement(*arrays, where=jnp.array([True, False]))
    np.testing.assert_array_equal(moved["rejected_drop"], [4, 0])
    np.testing.assert_array_equal(moved["chosen_change"], [1, 0])


def test_unseen_mass(rng) -> None:
    probability, seen = rng.dirichlet(np.ones(6), 4), rng.random((4, 6)) < 0.5
    expected = np.where(seen, 0, probability).sum(-1)
    log_prob = jnp.log(jnp.asarray(probability))
    np.testing.assert_allclose(unseen_mass(log_prob, jnp.asarray(seen)), expected, atol=1e-6)
    np.testing.assert_allclose(unseen_mass(log_prob.T, jnp.asarray(seen.T), axis=0), expected, atol=1e-6)
    np.testing.assert_allclose(unseen_mass(log_prob, jnp.ones(6, bool)), 0, atol=1e-6)
