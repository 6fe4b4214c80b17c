import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.weighting import importance_log_ratio
from rlx.weighting.ratio import LEVELS

LOG_PROB = jnp.array([-1.0, -0.5, -2.0, -3.0])
BEHAVIOR = jnp.array([-1.2, -0.9, -1.5, -3.0])
WHERE = jnp.array([True, True, True, False])


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("token", [0.2, 0.4, -0.5, 0]),
        ("sequence", [0.1, 0.1, 0.1, 0]),
        ("sequence_mean", [0.1 / 3, 0.1 / 3, 0.1 / 3, 0]),
        ("prefix", [0.2, 0.6, 0.1, 0]),
    ],
)
def test_oracle(level, expected) -> None:
    log_ratio = importance_log_ratio(LOG_PROB, BEHAVIOR, where=WHERE, level=level)
    np.testing.assert_allclose(log_ratio, expected, atol=1e-6)


@pytest.mark.parametrize("level", LEVELS)
def test_the_gradient_is_that_of_the_own_token(level) -> None:
    jacobian = jax.jacobian(lambda x: importance_log_ratio(x, BEHAVIOR, where=WHERE, level=level))(LOG_PROB)
    np.testing.assert_array_equal(jacobian, np.diag(WHERE))


def test_the_bound_stops_value_and_gradient() -> None:
    call = lambda x: importance_log_ratio(x, BEHAVIOR, bound=0.3)
    np.testing.assert_allclose(call(LOG_PROB), [0.2, 0.3, -0.3, 0], atol=1e-6)
    np.testing.assert_array_equal(jax.grad(lambda x: call(x).sum())(LOG_PROB), [1, 0, 0, 1])


def test_a_sequence_of_batches_is_each_on_its_own() -> None:
    pair = jnp.stack([LOG_PROB, 2 * LOG_PROB])
    together = importance_log_ratio(pair, BEHAVIOR[None], level="sequence")
    for row, log_prob in zip(together, pair, strict=True):
        np.testing.assert_allclose(row, importance_log_ratio(log_prob, BEHAVIOR, level="sequence"), rtol=1e-6)


def test_unknown_level() -> None:
    with pytest.raises(ValueError, match="level must be one of 'token', .* got 'word'"):
        importance_log_ratio(LOG_PROB, BEHAVIOR, level="word")
