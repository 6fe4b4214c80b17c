import jax
import jax.numpy as jnp
import numpy as np

from rlx.controllers import lagrange_multiplier
from rlx.losses.policy import clipped_surrogate, ratio_variance


def slope(log_prob, *args, **options):
    return jax.jit(jax.grad(lambda log_prob: ratio_variance(log_prob, *args, **options).sum()))(log_prob)


def test_oracle() -> None:
    arrays = jnp.array([-1.0, -1, -1]), jnp.array([-1, -1.5, -0.6]), jnp.array([1.0, 1, -2])
    np.testing.assert_allclose(ratio_variance(*arrays, coefficient=0.5), [-1, -1.438302, 1.394985], rtol=1e-6)
    np.testing.assert_allclose(slope(*arrays, coefficient=0.5), [-1, -0.579161, 1.119649], rtol=2e-6)


def test_equals_numpy_and_finite_differences(rng, check_gradient) -> None:
    log_prob, behavior, advantage = (*rng.uniform(-2, 0, (2, 4, 6)), rng.normal(size=(4, 6)))
    where, coefficient = rng.random((4, 6)) < 0.7, rng.uniform(0, 2, (4, 1))
    ratio = np.exp(log_prob - behavior)
    expected = np.where(where, -ratio * advantage + coefficient * (ratio - 1) ** 2, 0)
    arrays = [jnp.asarray(x) for x in (log_prob, behavior, advantage)]
    options = {"coefficient": jnp.asarray(coefficient), "where": jnp.asarray(where)}
    np.testing.assert_allclose(ratio_variance(*arrays, **options), expected, rtol=1e-11, atol=1e-14)
    check_gradient(jax.jit(lambda x: ratio_variance(x, *arrays[1:], **options)), arrays[0])
    effective = advantage - 2 * coefficient * (ratio - 1)
    np.testing.assert_allclose(slope(*arrays, **options), np.where(where, -ratio * effective, 0), rtol=1e-10)


def test_limits(rng, float64) -> None:
    log_prob, behavior, advantage = map(jnp.asarray, (*rng.uniform(-2, 0, (2, 20)), rng.normal(size=20)))
    np.testing.assert_allclose(slope(log_prob, log_prob, advantage, coefficient=7.0), -advantage)
    unclipped = clipped_surrogate(log_prob, behavior, advantage, clip_low=1.0, clip_high=jnp.inf)
    np.testing.assert_allclose(ratio_variance(log_prob, behavior, advantage, coefficient=0.0), unclipped, rtol=1e-12)
    pull = slope(log_prob, behavior, jnp.zeros(20), coefficient=1.0)
    np.testing.assert_array_equal(jnp.sign(pull), jnp.sign(log_prob - behavior))
    turn = jnp.log1p(1 / (2 * 0.7)) * jnp.ones(1)
    np.testing.assert_allclose(slope(turn, jnp.zeros(1), jnp.ones(1), coefficient=0.7), 0, atol=1e-12)


def test_the_multiplier_brings_the_variance_to_its_bound() -> None:
    """Two actions, the better one rare under the behavior: without the constraint its probability would go to 1."""
    behavior, advantage, controller = (
        jnp.log(jnp.array([0.8, 0.2])),
        jnp.array([0.0, 1.0]),
        lagrange_multiplier(step=0.3),
    )

    def objective(logit, multiplier):
        log_prob = jax.nn.log_softmax(jnp.stack([0.0, logit]))
        return jnp.sum(jnp.exp(behavior) * ratio_variance(log_prob, behavior, advantage, coefficient=multiplier))

    def step(carry, _):
        logit, state = carry
        log_prob = jax.nn.log_softmax(jnp.stack([0.0, logit]))
        variance = jnp.sum(jnp.exp(behavior) * jnp.square(jnp.expm1(log_prob - behavior)))
        multiplier, state = controller.update(state, variance - 0.1)
        return (logit - jax.grad(objective)(logit, multiplier), state), variance

    _, variance = jax.lax.scan(step, (jnp.log(0.25), controller.init(0.0)), None, 500)
    np.testing.assert_allclose(variance[-1], 0.1, rtol=1e-3)
