import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses import policy

hazard_modulated_surrogate = jax.jit(policy.hazard_modulated_surrogate)
slope = jax.jit(jax.grad(lambda *args, **options: policy.hazard_modulated_surrogate(*args, **options).sum()))


def test_oracle() -> None:
    behavior, advantage = jnp.full(4, -1.0), jnp.array([1.0, 1.0, 1.0, -1.0])
    log_prob = behavior + jnp.array([0.0, 0.5, -1.5, 0.5])
    loss = hazard_modulated_surrogate(log_prob, behavior, advantage)
    np.testing.assert_allclose(loss, [-0.265062, -0.438641, -0.011847, 0.438641], atol=1e-6)
    np.testing.assert_allclose(
        slope(log_prob, behavior, advantage), [-0.265062, -0.393298, -0.004976, 0.393298], atol=1e-6
    )


def test_equals_numpy_with_the_hazard_held_constant(rng, check_gradient) -> None:
    log_prob, behavior = rng.uniform(-3, 0, (2, 60))
    advantage, where = rng.normal(size=60), rng.random(60) < 0.8
    options = {
        "bound": 0.9,
        "positive_shape": 2.5,
        "positive_scale": 0.7,
        "negative_shape": 0.5,
        "negative_scale": 1.3,
    }
    psi = 0.9 * np.tanh((log_prob - behavior) / 0.9)
    zeta = (np.log(1 + np.exp(psi)) / 0.7) ** 2.5 + (np.log(1 + np.exp(-psi)) / 1.3) ** 0.5
    expected = np.where(where, -advantage * np.exp(psi - zeta), 0)
    arrays = [jnp.asarray(x) for x in (log_prob, behavior, advantage)]
    loss = hazard_modulated_surrogate(*arrays, **options, where=jnp.asarray(where))
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    # The gradient is that of the same loss with ζ a number.
    frozen = lambda x: -arrays[2] * jnp.exp(0.9 * jnp.tanh((x - arrays[1]) / 0.9) - zeta)
    check_gradient(jax.jit(frozen), arrays[0])
    np.testing.assert_allclose(slope(*arrays, **options), jax.grad(lambda x: frozen(x).sum())(arrays[0]), rtol=1e-9)


def test_limits(rng, float64) -> None:
    log_prob, behavior, advantage = map(jnp.asarray, rng.normal(size=(3, 30)))
    plain = hazard_modulated_surrogate(
        log_prob, behavior, advantage, bound=1e5, positive_scale=jnp.inf, negative_scale=jnp.inf
    )
    np.testing.assert_allclose(plain, -advantage * jnp.exp(log_prob - behavior), rtol=1e-6)
    np.testing.assert_allclose(
        hazard_modulated_surrogate(log_prob, behavior, -advantage),
        -hazard_modulated_surrogate(log_prob, behavior, advantage),
    )
    at_zero = np.exp(-((np.log(2) / 1.0) ** 1.5 + (np.log(2) / 0.8) ** 2))
    np.testing.assert_allclose(slope(behavior, behavior, advantage), -advantage * at_zero, rtol=1e-12)


def test_gradient_vanishes_far_away_and_is_bounded() -> None:
    log_ratio = jnp.concatenate([jnp.array([-80.0, 80.0]), jnp.linspace(-5, 5, 101)])
    gradient = slope(log_ratio, jnp.zeros(103), jnp.ones(103))
    np.testing.assert_array_equal(gradient[:2], 0)
    assert np.all(np.abs(gradient) <= np.exp(1.5)) and np.all(gradient[2:] < 0)
