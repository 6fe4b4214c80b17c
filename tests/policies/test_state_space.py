import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import policies

selective_scan = jax.jit(policies.selective_scan, static_argnames="return_state")


@pytest.fixture
def sequence(rng):
    """Inputs [2, 7, 3] of a batch, with a state of 4."""
    x, b, c = rng.normal(size=(2, 7, 3)), rng.normal(size=(2, 7, 4)), rng.normal(size=(2, 7, 4))
    delta, a = rng.uniform(0, 2, (2, 7, 3)), -rng.uniform(0.2, 2, (3, 4))
    return x, delta, a, b, c, rng.normal(size=3)


def numpy_scan(x, delta, a, b, c, d, state):
    y = np.zeros_like(x)
    for i in range(x.shape[0]):
        for t in range(x.shape[1]):
            for channel in range(x.shape[2]):
                decay = np.exp(delta[i, t, channel] * a[channel])
                state[i, channel] = decay * state[i, channel] + delta[i, t, channel] * b[i, t] * x[i, t, channel]
                y[i, t, channel] = c[i, t] @ state[i, channel] + d[channel] * x[i, t, channel]
    return y, state


def test_oracle() -> None:
    y = selective_scan(
        jnp.array([[1.0], [2.0], [-1.0]]),
        jnp.array([[0.5], [0.1], [1.0]]),
        jnp.array([[-1.0, -2.0]]),
        jnp.array([[1.0, 0.0], [0.5, 1.0], [1.0, -1.0]]),
        jnp.array([[1.0, 1.0], [1.0, 0.0], [0.5, 2.0]]),
        jnp.array([0.3]),
    )
    np.testing.assert_allclose(y[:, 0], [0.8, 1.152419, 1.355746], rtol=1e-6)


def test_equals_numpy_and_finite_differences(sequence, rng, check_gradient) -> None:
    start = rng.normal(size=(2, 3, 4))
    expected = numpy_scan(*sequence, start.copy())
    arrays = [jnp.asarray(x) for x in sequence]
    scan = lambda *arrays: selective_scan(*arrays, initial_state=jnp.asarray(start), return_state=True)
    for actual, wanted in zip(scan(*arrays), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-10)
    check_gradient(jax.jit(lambda *arrays: scan(*arrays)[0]), *arrays)


def test_a_scan_can_be_continued(sequence, float64) -> None:
    x, delta, a, b, c, d = map(jnp.asarray, sequence)
    whole, state = selective_scan(x, delta, a, b, c, d, return_state=True)
    parts = [], None
    for t in (slice(0, 3), slice(3, 7)):
        y, last = selective_scan(
            x[:, t], delta[:, t], a, b[:, t], c[:, t], d, initial_state=parts[1], return_state=True
        )
        parts = [*parts[0], y], last
    np.testing.assert_allclose(jnp.concatenate(parts[0], 1), whole, rtol=1e-12)
    np.testing.assert_allclose(parts[1], state, rtol=1e-12)


def test_is_causal_and_a_step_of_0_keeps_the_state(sequence, float64) -> None:
    x, delta, a, b, c, d = map(jnp.asarray, sequence)
    slopes = jax.jacobian(lambda x: selective_scan(x, delta[0], a, b[0], c[0], d))(x[0])
    later = np.triu(np.ones((7, 7)), 1)[:, None, :, None] == 1  # [output time, channel, input time, channel]
    assert not np.any(np.where(later, slopes, 0)) and np.any(slopes)
    _, state = selective_scan(x, delta.at[:, 4:].set(0), a, b, c, d, return_state=True)
    _, earlier = selective_scan(x[:, :4], delta[:, :4], a, b[:, :4], c[:, :4], d, return_state=True)
    np.testing.assert_array_equal(state, earlier)


def test_bfloat16_inputs_are_summed_in_float32(sequence) -> None:
    narrow = [jnp.asarray(x, jnp.bfloat16) for x in sequence]
    y = selective_scan(*narrow)
    wide = selective_scan(*(x.astype(jnp.float32) for x in narrow))
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y, wide.astype(jnp.bfloat16))


def test_wrong_lengths_are_named(sequence, unannotated) -> None:
    x, delta, a, b, c, d = map(jnp.asarray, sequence)
    with unannotated, pytest.raises(ValueError, match=r"do not broadcast.*x \(2, 6\).*b \(2, 7\)"):
        selective_scan(x[:, 1:], delta[:, 1:], a, b, c, d)
