import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.policy import clipped_surrogate
from rlx.regularizers.behavior import likelihood_displacement

LOG_PROB = jnp.array([[-1.0, -2, -0.5]] * 2)
BEHAVIOR = jnp.array([[-0.8, -2.5, -0.4], [-0.5, -1.9, -0.6]])
ADVANTAGE = jnp.array([1.0, 0.0])


@pytest.mark.parametrize(
    ("segment", "expected"),
    [(None, [[0, 0, 0], [0.5, 0.1, 0]]), ([[1, 2, 2], [1, 1, 2]], [[0.2, 0, 0], [0.5, 0.1, 0]])],
)
def test_oracle(segment, expected) -> None:
    segment = None if segment is None else jnp.array(segment)
    call = lambda x: likelihood_displacement(x, BEHAVIOR, ADVANTAGE, segment=segment)
    np.testing.assert_allclose(call(LOG_PROB), expected, atol=1e-6)
    gradient = jax.grad(lambda x: call(x).sum())(LOG_PROB)
    np.testing.assert_array_equal(gradient, -(np.array(expected) > 0).astype(float))


@pytest.mark.parametrize(("segmented", "num_segments"), [(False, None), (True, None), (True, 4)])
def test_equals_numpy(rng, float64, segmented, num_segments) -> None:
    log_prob, behavior = rng.uniform(-3, 0, (2, 8, 10))
    behavior += 0.3
    advantage, where = rng.normal(size=8) + 1, rng.random((8, 10)) < 0.7
    ids = rng.integers(0, 5, (8, 10))
    expected = np.zeros((8, 10))
    for i, t in zip(*np.nonzero(where), strict=True):
        unit = where[i] & (ids[i] == ids[i, t]) if segmented else where[i]
        if advantage[i] >= 0 and (behavior - log_prob)[i][unit].sum() > 0 and (ids[i, t] > 0 or not segmented):
            expected[i, t] = max(0, behavior[i, t] - log_prob[i, t])
    assert (expected > 0).sum() > 5
    hide = lambda x: jnp.asarray(np.where(where, x, np.nan))
    for turn, axis in ((jnp.asarray, -1), (jnp.transpose, 0)):
        found = jax.jit(likelihood_displacement, static_argnames=("num_segments", "axis"))(
            turn(hide(log_prob)),
            turn(hide(behavior)),
            jnp.asarray(advantage),
            segment=turn(jnp.asarray(ids)) if segmented else None,
            num_segments=num_segments,
            where=turn(jnp.asarray(where)),
            axis=axis,
        )
        np.testing.assert_allclose(turn(found), expected, rtol=1e-9)


def test_on_policy_and_rising_tokens_are_free(rng) -> None:
    log_prob = jnp.asarray(rng.uniform(-3, -1, (4, 5)), jnp.float32)
    for behavior in (log_prob, log_prob - 0.5):
        call = lambda x, behavior=behavior: likelihood_displacement(x, behavior, jnp.ones(4)).sum()
        value, gradient = jax.value_and_grad(call)(log_prob)
        assert value == 0 and not np.any(gradient)


def test_it_adds_to_a_surrogate_only_where_good_responses_fell() -> None:
    # The gate and λ are all that is between the two gradients.
    loss = lambda x, penalty: (
        clipped_surrogate(x, BEHAVIOR, ADVANTAGE[:, None]) + penalty * likelihood_displacement(x, BEHAVIOR, ADVANTAGE)
    ).sum()
    difference = jax.grad(loss)(LOG_PROB, 0.1) - jax.grad(loss)(LOG_PROB, 0.0)
    np.testing.assert_allclose(difference, [[0, 0, 0], [-0.1, -0.1, 0]], atol=1e-6)


def test_segments_are_integers(unannotated) -> None:
    with unannotated:
        with pytest.raises(ValueError, match="segment must be an integer"):
            likelihood_displacement(LOG_PROB, BEHAVIOR, ADVANTAGE, segment=jnp.ones((2, 3)))
        with pytest.raises(ValueError, match="do not broadcast"):
            likelihood_displacement(LOG_PROB, BEHAVIOR, ADVANTAGE, segment=jnp.ones((2, 4), int))
