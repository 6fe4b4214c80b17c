import jax.numpy as jnp
import numpy as np
import pytest

from rlx.diagnostics import normalized_score

HALFCHEETAH = {"minimum": -280.178953, "maximum": 12135.0}


def test_oracles() -> None:
    returns = jnp.array([3000.0, -280.178953, 12135.0])
    np.testing.assert_allclose(normalized_score(returns, **HALFCHEETAH), [26.420714, 0, 100], rtol=1e-6)


def test_scores_leave_the_range_and_tasks_may_differ() -> None:
    limits = {"minimum": jnp.array([0.0, -20.0]), "maximum": jnp.array([1.0, 30.0])}
    score = normalized_score(jnp.array([[1.5, -30.0], [0.5, 5.0]]), **limits)
    np.testing.assert_allclose(score, [[150, -20], [50, 50]])
    with pytest.raises(ValueError, match="do not broadcast.*minimum"):
        normalized_score(jnp.zeros(3), **limits)
