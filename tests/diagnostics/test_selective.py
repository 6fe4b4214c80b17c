import jax.numpy as jnp
import numpy as np

from rlx.diagnostics import risk_coverage, selective_accuracy


def test_risk_coverage_oracle() -> None:
    coverage, risk = risk_coverage(jnp.array([0.9, 0.2, 0.6]), jnp.array([0.0, 1.0, 1.0]))
    np.testing.assert_allclose(coverage, [1 / 3, 2 / 3, 1], rtol=1e-6)
    np.testing.assert_allclose(risk, [0, 0.5, 2 / 3], rtol=1e-6)


def test_risk_coverage_equals_a_loop(rng) -> None:
    score, loss = rng.integers(0, 5, (3, 9)).astype(np.float32), rng.random((3, 9)).astype(np.float32)
    coverage, risk = risk_coverage(jnp.asarray(score), jnp.asarray(loss))
    for row in range(3):
        order = sorted(range(9), key=lambda j, row=row: -score[row, j])
        np.testing.assert_allclose(risk[row], [loss[row, order[: k + 1]].mean() for k in range(9)], rtol=1e-5)
    across = risk_coverage(jnp.asarray(score.T), jnp.asarray(loss.T), axis=0)
    np.testing.assert_allclose(across, [np.transpose(coverage), np.transpose(risk)], rtol=1e-6)


def test_selective_accuracy(rng) -> None:
    score, correct, mask = rng.random((3, 20)), rng.random((3, 20)) < 0.5, rng.random((3, 20)) < 0.7
    mask[1] = False
    answered = mask & (score >= 0.6)
    expected = [correct[i][answered[i]].mean() if answered[i].any() else 0 for i in range(3)]
    poisoned = jnp.asarray(np.where(mask, score, np.nan))
    accuracy = selective_accuracy(poisoned, jnp.asarray(correct), 0.6, where=jnp.asarray(mask))
    np.testing.assert_allclose(accuracy, expected, rtol=1e-6)


def test_declining_the_least_trusted_helps_when_the_score_is_informative(rng) -> None:
    reward = rng.normal(size=4000)
    _, risk = risk_coverage(jnp.asarray(reward + rng.normal(size=4000)), jnp.asarray(-reward))
    assert risk[3199] < risk[-1] - 0.1
