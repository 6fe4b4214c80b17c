from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np

from rlx import diagnostics

outcome_entropy = jax.jit(diagnostics.outcome_entropy, static_argnames=("axis",))


def test_oracle() -> None:
    outcome = jnp.array([[7, 1, 7, 2], [3, 4, 5, 6], [7, 7, 7, 7]])
    np.testing.assert_allclose(outcome_entropy(outcome), [1.039721, 1.386294, 0], atol=1e-6)


def test_equals_counting_and_ignores_names(rng, float64) -> None:
    outcome, where = rng.integers(0, 3, (6, 7)), rng.random((6, 7)) < 0.7
    where[0] = False
    expected = []
    for answers, mask in zip(outcome, where):
        counts = Counter(answers[mask].tolist())
        expected.append(-sum(c / mask.sum() * np.log(c / mask.sum()) for c in counts.values()))
    entropy = outcome_entropy(jnp.asarray(outcome), where=jnp.asarray(where))
    np.testing.assert_allclose(entropy, expected, rtol=1e-12, atol=1e-15)
    renamed = jnp.array([40, -3, 8])[outcome].T
    np.testing.assert_array_equal(outcome_entropy(renamed, where=jnp.asarray(where).T, axis=0), entropy)
