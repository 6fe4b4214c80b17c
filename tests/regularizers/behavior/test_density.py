import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.regularizers import behavior
from rlx.regularizers.behavior import out_of_distribution_cost

kernel_log_density = jax.jit(behavior.kernel_log_density, static_argnames="chunk")

DATA = jnp.array([[0.0, 0.0], [0.5, 0.5], [-0.3, 0.4]])


def test_density_oracle() -> None:
    log_density = kernel_log_density(jnp.array([[0.1, 0.2], [2.0, 2.0]]), DATA)
    np.testing.assert_allclose(log_density, [-0.866771, -9.541388], rtol=1e-6)


@pytest.mark.parametrize("chunk", [None, 4, 1])
def test_density_equals_numpy_and_finite_differences(rng, check_gradient, chunk) -> None:
    x, data = rng.normal(size=(3, 2, 3)), rng.normal(size=(10, 3))
    density = np.zeros((3, 2))
    for index in np.ndindex(3, 2):
        for row in data:
            density[index] += np.exp(-np.sum((x[index] - row) ** 2) / (2 * 0.7**2)) / 10
    expected = np.log(density / (2 * np.pi * 0.7**2) ** 1.5)
    log_density = lambda x: kernel_log_density(x, jnp.asarray(data), bandwidth=0.7, chunk=chunk)
    np.testing.assert_allclose(log_density(jnp.asarray(x)), expected, rtol=1e-12)
    check_gradient(jax.jit(log_density), jnp.asarray(x))


def test_density_is_a_density_and_ignores_the_order_of_the_data(float64) -> None:
    line = jnp.linspace(-30, 30, 4001)[:, None]
    data = jnp.array([[-1.0], [0.2], [2.0]])
    log_density = kernel_log_density(line, data, bandwidth=0.4)
    np.testing.assert_allclose(jnp.sum(jnp.exp(log_density)) * 60 / 4000, 1, rtol=1e-6)
    np.testing.assert_allclose(kernel_log_density(line, data[::-1], bandwidth=0.4), log_density, rtol=1e-12)
    assert np.isfinite(log_density).all() and log_density.min() < -1000  # where the density itself is 0


def test_data_are_constant_and_may_be_many_or_few(unannotated) -> None:
    slope = jax.grad(lambda data: kernel_log_density(jnp.ones(2), data).sum())(DATA)
    assert not np.any(slope)
    with unannotated:
        with pytest.raises(ValueError, match="equally many features"):
            kernel_log_density(jnp.ones((2, 3)), DATA)
        with pytest.raises(ValueError, match="data must be a floating-point array, got dtype int32"):
            kernel_log_density(jnp.ones((2, 2)), jnp.ones((3, 2), jnp.int32))
        with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
            kernel_log_density(jnp.ones((2, 2)), DATA, chunk=0)


def test_the_quantile_as_threshold_flags_that_share_of_the_data(rng) -> None:
    data = jnp.asarray(rng.normal(size=(400, 2)), jnp.float32)
    log_density = kernel_log_density(data, data, chunk=100)
    cost = out_of_distribution_cost(log_density, threshold=jnp.quantile(log_density, 0.05))
    assert cost.sum() == 20
    far = kernel_log_density(data + 20, data)
    assert out_of_distribution_cost(far, threshold=jnp.quantile(log_density, 0.05)).all()


def test_cost_is_1_below_the_threshold_and_where_nothing_is_known() -> None:
    log_density = jnp.array([-2.0, -1.0, 0.5, jnp.nan, -9.0])
    where = jnp.array([True, True, True, True, False])
    np.testing.assert_array_equal(out_of_distribution_cost(log_density, threshold=-1.0, where=where), [1, 0, 0, 1, 0])
