import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses.policy import clipped_surrogate, low_probability_surrogate


def slope(log_prob, *args, **options):
    return jax.grad(lambda x: low_probability_surrogate(x, *args, **options).sum())(log_prob)


def test_oracle() -> None:
    arrays = (
        jnp.array([-4.0, -0.2, -5.0, -1.0]),
        jnp.array([-4.1, -0.2, -4.8, -1.0]),
        jnp.array([-1.0, -1.0, -1.0, 1.0]),
        jnp.array([-3.9, -0.19, -1e4, -0.95]),
    )
    loss = low_probability_surrogate(*arrays, fraction=0.67)
    np.testing.assert_allclose(loss, [1.110342, 1, 0.818731, -1], rtol=1e-6)
    np.testing.assert_allclose(slope(*arrays, fraction=0.67), [1, 1, 0.818731, -1], rtol=1e-5)
    # One protected token is none.
    alone = low_probability_surrogate(*arrays, fraction=0.34)
    np.testing.assert_allclose(alone, clipped_surrogate(*arrays[:3], clip_low=1.0, clip_high=9.0))


def test_some_tokens_are_protected_however_few_are_punished() -> None:
    """The rarest of those that the proxy favors, and not the rarest that it has removed."""
    log_prob = jnp.array([-4.0, -0.2, -5.0, -1.0, -3.0])
    advantage, proxy = jnp.array([-1.0, -1.0, -1.0, 1.0, -1.0]), jnp.array([-3.9, -0.19, -1e4, -0.95, -2.5])
    where = jnp.array([True, True, True, True, True])
    of = lambda **options: low_probability_surrogate(log_prob, log_prob, advantage, proxy, where=where, **options)
    plain, pull = of(fraction=0.01), np.exp([0.1, 0.01, 0.0, 0.0, 0.5]) - np.array([1.1, 1.01, 1.0, 1.0, 1.5])
    np.testing.assert_allclose(plain, -advantage)
    for minimum, protected in [(1, [0]), (2, [0, 4]), (5, [0, 1, 4])]:
        expected = np.array(plain)
        expected[protected] += pull[protected]
        np.testing.assert_allclose(of(fraction=0.01, minimum=minimum), expected, rtol=1e-6)
    masked = low_probability_surrogate(
        log_prob, log_prob, advantage, proxy, where=where.at[0].set(False), fraction=0.01, minimum=1
    )
    np.testing.assert_allclose(masked, [0, 1, 1, -1, 1 + pull[4]], rtol=1e-6)


def numpy_surrogate(log_prob, behavior, advantage, proxy, where, fraction, coefficient, low, high):
    ratio = np.exp(log_prob - behavior)
    loss = np.maximum(-advantage * ratio, -advantage * np.clip(ratio, 1 - low, 1 + high))
    punished = [i for i in np.argsort(log_prob, kind="stable") if where[i] and advantage[i] < 0]
    count = int(fraction * len(punished))
    for i in punished[: count if count > 1 else 0]:
        if log_prob[i] < proxy[i]:
            d = proxy[i] - log_prob[i]
            loss[i] = -advantage[i] * ratio[i] + coefficient * min(np.exp(d) - d - 1, 10)
    return np.where(where, loss, 0)


def test_equals_numpy_and_finite_differences(rng, check_gradient) -> None:
    log_prob, behavior, proxy = rng.uniform(-4, 0, (3, 60))
    advantage, where = rng.normal(size=60), rng.random(60) < 0.8
    proxy[::4] = -1e4
    options = {"fraction": 0.55, "coefficient": 0.7, "clip_low": 0.15, "clip_high": 0.3}
    arrays = [jnp.asarray(x) for x in (behavior, advantage, proxy)]
    call = jax.jit(lambda x: low_probability_surrogate(x, *arrays, where=jnp.asarray(where), **options))
    expected = numpy_surrogate(log_prob, behavior, advantage, proxy, where, 0.55, 0.7, 0.15, 0.3)
    plain = numpy_surrogate(log_prob, behavior, advantage, proxy, where, 0, 0.7, 0.15, 0.3)
    assert (expected != plain).sum() > 4
    np.testing.assert_allclose(call(jnp.asarray(log_prob)), expected, rtol=1e-9)
    check_gradient(call, jnp.asarray(log_prob))


def test_without_protection_it_is_the_clipped_surrogate(rng) -> None:
    log_prob, behavior = jnp.asarray(rng.uniform(-3, 0, (2, 4, 9)), jnp.float32)
    advantage = jnp.asarray(rng.normal(size=(4, 9)), jnp.float32)
    expected = clipped_surrogate(log_prob, behavior, advantage, clip_low=1.0, clip_high=9.0)
    call = lambda proxy, **options: low_probability_surrogate(log_prob, behavior, advantage, proxy, **options)
    near = log_prob + 0.5
    np.testing.assert_array_equal(call(near, fraction=0.0), expected)
    np.testing.assert_allclose(call(near, fraction=1.0, coefficient=0.0), expected, rtol=1e-6)
    np.testing.assert_array_equal(call(log_prob - 0.1, fraction=1.0), expected)
    pulled = call(near, fraction=1.0)
    np.testing.assert_array_equal((pulled != expected), advantage < 0)


def test_far_from_the_proxy_the_pull_saturates_without_gradient() -> None:
    log_prob, advantage = jnp.array([-200.0, -200.0]), jnp.array([-1.0, -1.0])
    arrays = (log_prob, log_prob, advantage, jnp.array([-1.0, -180.0]))
    np.testing.assert_allclose(low_probability_surrogate(*arrays, fraction=1.0), 11)
    np.testing.assert_allclose(slope(*arrays, fraction=1.0), 1)
