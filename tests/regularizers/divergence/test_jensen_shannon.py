import jax
import jax.numpy as jnp
import numpy as np

from rlx.regularizers.divergence import generalized_jsd, kl_categorical


@jax.jit
def divergence_and_slope(logits, target_logits, beta, temperature=1.0):
    divergence = lambda x: generalized_jsd(x, target_logits, beta=beta, temperature=temperature)
    value, back = jax.vjp(divergence, logits)
    return value, back(jnp.ones_like(value))[0]


def numpy_jsd(logits, target_logits, beta, temperature):
    q, p = (np.exp(x / temperature) for x in (logits, target_logits))
    q, p = q / q.sum(-1, keepdims=True), p / p.sum(-1, keepdims=True)
    mixture = beta * p + (1 - beta) * q
    kl = lambda a, b: np.sum(a * np.log(a / b), -1)
    return beta * kl(p, mixture) + (1 - beta) * kl(q, mixture)


def test_oracle_and_numpy(float64, rng, check_gradient) -> None:
    logits, target = rng.normal(size=(2, 4, 3)) * 3
    logits[0], target[0] = [0, 1, 2], [1, 0, 1]
    assert abs(divergence_and_slope(jnp.asarray(logits), jnp.asarray(target), 0.5)[0][0] - 0.077199) < 1e-6
    for beta, temperature in ((0.1, 1.0), (0.5, 0.7), (0.9, 2.0)):
        value, slope = divergence_and_slope(jnp.asarray(logits), jnp.asarray(target), beta, temperature)
        np.testing.assert_allclose(value, numpy_jsd(logits, target, beta, temperature), rtol=1e-11)
        np.testing.assert_allclose(slope.sum(-1), 0, atol=1e-15)
    check_gradient(jax.jit(lambda x: generalized_jsd(x, jnp.asarray(target), beta=0.3)), jnp.asarray(logits))


def test_ends_are_the_two_kl_and_the_limits_of_the_ratios(float64, rng) -> None:
    logits, target = jnp.asarray(rng.normal(size=(2, 4, 3)))

    @jax.jit
    def kl_and_slope(x):
        forward, reverse = lambda x: kl_categorical(target, x), lambda x: kl_categorical(x, target)
        return [(kl(x), jax.grad(lambda x, kl=kl: kl(x).sum())(x)) for kl in (forward, reverse)]

    for end, near, (kl, slope) in zip((0.0, 1.0), (1e-7, 1 - 1e-7), kl_and_slope(logits), strict=True):
        value, actual = divergence_and_slope(logits, target, end)
        np.testing.assert_allclose(value, kl, rtol=1e-12)
        np.testing.assert_allclose(actual, slope, atol=1e-12)
        np.testing.assert_allclose(divergence_and_slope(logits, target, near)[0] / 1e-7, kl, rtol=1e-5)


def test_laws(float64, rng) -> None:
    logits, target = jnp.asarray(rng.normal(size=(2, 4, 3)) * 20)
    value, _ = divergence_and_slope(logits, target, 0.5)
    assert (value >= -1e-15).all() and (value <= np.log(2) + 1e-15).all()
    np.testing.assert_allclose(value, divergence_and_slope(target, logits, 0.5)[0], rtol=1e-12)
    np.testing.assert_allclose(divergence_and_slope(logits, logits + 3, 0.5)[0], 0, atol=1e-14)


def test_excluded_tokens_are_exact() -> None:
    logits, target = jnp.array([0.3, -0.2, -jnp.inf]), jnp.array([0.5, 0.0, -jnp.inf])
    for beta in (0.0, 0.5, 1.0):
        value, slope = divergence_and_slope(logits, target, beta)
        np.testing.assert_allclose(value, divergence_and_slope(logits[:2], target[:2], beta)[0], rtol=1e-6)
        assert np.isfinite(slope).all() and slope[2] == 0
        assert (divergence_and_slope(logits.at[2].set(0), target, beta)[0] == np.inf) == (beta == 1)
