import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.imitation import f_sft

UTILITIES = {
    "total_variation": lambda x: x,
    "pearson": lambda x: x - x**2 / 4,
    "squared_hellinger": lambda x: x / (1 + x),
    "reverse_kl": lambda x: -np.exp(-(x + 1)),
    "jensen_shannon": lambda x: np.log(2 - np.exp(-x)),
}


def slope(log_prob, *args, **options):
    return jax.jit(jax.grad(lambda log_prob: f_sft(log_prob, *args, **options).sum()))(log_prob)


@pytest.mark.parametrize(
    "divergence, values, slopes",
    [
        ("total_variation", [-0.3, 0.2, 0], [-1, -1, -1]),
        ("pearson", [-0.2775, 0.21, 0], [-0.85, -1.1, -1]),
        ("squared_hellinger", [-0.230769, 0.25, 0], [-0.591716, -1.5625, -1]),
    ],
)
def test_oracle(divergence, values, slopes) -> None:
    arrays = jnp.array([-1.0, -2.0, -3.0]), jnp.array([-1.3, -1.8, -3.0])
    np.testing.assert_allclose(f_sft(*arrays, divergence=divergence), values, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(slope(*arrays, divergence=divergence), slopes, rtol=1e-5)


@pytest.mark.parametrize("divergence", list(UTILITIES))
def test_equals_numpy_and_finite_differences(rng, check_gradient, divergence) -> None:
    reference, beta = rng.uniform(-3, 0, 20), 0.4
    log_prob = reference + rng.uniform(-1.2, 6, 20)
    expected = -UTILITIES[divergence](beta * (log_prob - reference)) / beta
    options = {"beta": beta, "divergence": divergence}
    np.testing.assert_allclose(f_sft(jnp.asarray(log_prob), jnp.asarray(reference), **options), expected, rtol=1e-9)
    check_gradient(jax.jit(lambda x: f_sft(x, jnp.asarray(reference), **options)), log_prob)


def test_starts_as_supervised_fine_tuning() -> None:
    log_prob = jnp.array([-0.5])
    slopes = [slope(log_prob, log_prob, divergence=divergence)[0] for divergence in UTILITIES]
    np.testing.assert_allclose(slopes, [-1, -1, -1, -np.exp(-1), -1], rtol=1e-6)


def test_pearson_stops_at_its_margin() -> None:
    beta = 0.5
    at_margin = jnp.array([2 / beta])
    np.testing.assert_allclose(slope(at_margin, jnp.zeros(1), beta=beta, divergence="pearson"), 0, atol=1e-6)
    lowest = f_sft(jnp.linspace(-80, 80, 400), jnp.zeros(400), beta=beta, divergence="pearson").min()
    np.testing.assert_allclose(lowest, -1 / beta, rtol=1e-2)


@pytest.mark.parametrize("divergence, pole", [("squared_hellinger", -1), ("jensen_shannon", -np.log(2))])
def test_the_pull_goes_on_below_the_pole(float64, divergence, pole) -> None:
    x = jnp.array([-80.0, pole, pole + 0.2, 80.0])
    loss = f_sft(x, jnp.zeros(4), divergence=divergence, pole_distance=0.2)
    slopes = slope(x, jnp.zeros(4), divergence=divergence, pole_distance=0.2)
    steepest = -(25 if divergence == "squared_hellinger" else 1 / np.expm1(0.2))
    np.testing.assert_allclose(slopes[:3], steepest, rtol=1e-9)
    np.testing.assert_allclose(loss[:2] - loss[2], steepest * (x[:2] - x[2]), rtol=1e-9)
    assert -1e-3 < slopes[3] <= 0
