import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlx import diagnostics


def test_explained_variance_equals_numpy(rng) -> None:
    value, target = rng.normal(size=(2, 40)).astype(np.float32)
    where = rng.random(40) < 0.6
    expected = 1 - np.var((target - value)[where]) / np.var(target[where])
    arrays = jnp.asarray(value), jnp.asarray(target)
    np.testing.assert_allclose(diagnostics.explained_variance(*arrays, where=jnp.asarray(where)), expected, rtol=1e-5)


def test_explained_variance_of_the_corners() -> None:
    target = jnp.array([1.0, 2.0, 4.0])
    assert diagnostics.explained_variance(target, target) == 1
    np.testing.assert_allclose(diagnostics.explained_variance(jnp.zeros(3), target), 0, atol=1e-6)
    assert diagnostics.explained_variance(-target, target) < 0


@given(st.floats(-1e6, 1e6, width=32), st.sampled_from([1, 7, 50]))
def test_constant_targets_leave_nothing_to_explain(level, size) -> None:
    assert diagnostics.explained_variance(jnp.arange(float(size)), jnp.full(size, level, jnp.float32)) == 0


def test_clip_fraction_counts() -> None:
    ratio = jnp.array([0.5, 0.85, 1.0, 1.15, 1.25, 3.0])
    log_prob, behavior = jnp.log(ratio), jnp.zeros(6)
    np.testing.assert_allclose(diagnostics.clip_fraction(log_prob, behavior), 3 / 6)
    np.testing.assert_allclose(diagnostics.clip_fraction(log_prob, behavior, clip_low=0.6, clip_high=0.5), 1 / 6)
    np.testing.assert_allclose(diagnostics.clip_fraction(log_prob, behavior, where=ratio < 1), 1 / 2)


def test_approximate_kl_is_exact_in_expectation() -> None:
    # Every action once, as often as the behavior policy takes it: 2, 1 and 1 of 4.
    behavior, policy = np.log([0.5, 0.25, 0.25]), np.log([0.2, 0.3, 0.5])
    drawn = np.array([0, 0, 1, 2])
    expected = np.sum(np.exp(behavior) * (behavior - policy))
    estimate = diagnostics.approximate_kl(*(jnp.asarray(x[drawn], jnp.float32) for x in (policy, behavior)))
    np.testing.assert_allclose(estimate, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("log_weight", "expected"),
    [
        ([0.0, 0.0, 0.0], 3),
        ([5.0, -300.0, -300.0], 1),
        ([1000.0, 1000.0, -1000.0], 2),
        ([-jnp.inf, 0.0, 0.0], 2),
    ],
)
def test_effective_sample_size_by_hand(log_weight, expected) -> None:
    np.testing.assert_allclose(diagnostics.effective_sample_size(jnp.array(log_weight)), expected)


def test_effective_sample_size_equals_numpy(rng) -> None:
    log_weight, where = rng.normal(size=(4, 9)), rng.random((4, 9)) < 0.7
    weight = np.where(where, np.exp(log_weight), 0)
    expected = weight.sum(-1) ** 2 / (weight**2).sum(-1)
    actual = diagnostics.effective_sample_size(jnp.asarray(log_weight, jnp.float32), where=jnp.asarray(where))
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_data_to_divergence_oracle() -> None:
    np.testing.assert_allclose(diagnostics.data_to_divergence(262144, 0.01), 2.62144e7, rtol=1e-6)
