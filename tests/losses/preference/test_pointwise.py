import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.preference import kto, sppo

CHOSEN, REFERENCE = jnp.array([-12.0, -20.0, -7.5]), jnp.array([-13.0, -19.0, -8.0])
DESIRABLE = jnp.array([True, True, False])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_kto_oracle_and_a_negative_estimate() -> None:
    loss = jax.jit(lambda kl: kto(CHOSEN, REFERENCE, DESIRABLE, kl, beta=0.5))
    np.testing.assert_allclose(loss(jnp.float32(0.2)), [0.401312, 0.645656, 0.53743], atol=1e-6)
    np.testing.assert_allclose(loss(jnp.float32(-3)), loss(jnp.float32(0)))


def test_kto_equals_numpy_and_finite_differences(float64, check_gradient, rng) -> None:
    log_prob, reference, kl = rng.uniform(-3, 0, (3, 20))
    kl, desirable, where = -kl, rng.random(20) < 0.5, rng.random(20) < 0.7
    log_prob[~where] = np.nan
    gain = 0.3 * (log_prob - reference - kl)
    expected = np.where(desirable, 1.2 * (1 - sigmoid(gain)), 0.8 * (1 - sigmoid(-gain)))
    options = {"beta": 0.3, "desirable_weight": 1.2, "undesirable_weight": 0.8}
    loss = jax.jit(lambda x: kto(x, *map(jnp.asarray, (reference, desirable, kl)), where=jnp.asarray(where), **options))
    np.testing.assert_allclose(loss(jnp.asarray(log_prob)), np.where(where, expected, 0), rtol=1e-12)
    check_gradient(loss, jnp.asarray(np.nan_to_num(log_prob)))


def test_kto_saturates_without_cancelling() -> None:
    far = jax.jit(lambda x: kto(x, jnp.zeros(2), jnp.array([True, False]), 0.0, beta=1.0))
    value = far(jnp.array([40.0, -40.0]))
    np.testing.assert_allclose(value, np.exp(-40.0), rtol=1e-5)


def test_kto_refuses_a_label_that_is_not_boolean(unannotated) -> None:
    with unannotated, pytest.raises(ValueError, match="desirable must be boolean"):
        kto(CHOSEN, REFERENCE, jnp.array([1, 1, -1]), 0.2)


def test_sppo_oracle_and_minimum(float64, check_gradient) -> None:
    log_prob, reference, win_rate = (
        jnp.array([-1.0, -2.0, -3.0]),
        jnp.array([-1.5, -2.5, -2.0]),
        jnp.array([0.9, 0.5, 0.2]),
    )
    expected = [(0.5 - 0.4 / 0.2) ** 2, 0.25, (-1 + 0.3 / 0.2) ** 2]
    np.testing.assert_allclose(sppo(log_prob, reference, win_rate, beta=0.2), expected)
    check_gradient(jax.jit(lambda x: sppo(x, reference, win_rate, beta=0.2)), log_prob)
    best = reference + (win_rate - 0.5) / 0.2
    np.testing.assert_allclose(sppo(best, reference, win_rate, beta=0.2), 0, atol=1e-25)
    masked = sppo(log_prob.at[1].set(jnp.nan), reference, win_rate, where=jnp.array([True, False, True]))
    assert masked[1] == 0 and np.isfinite(masked).all()
