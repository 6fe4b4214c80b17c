"""Recurrent cells: an unroll is its steps, a sequence knows nothing of the one before, each cell is its equation."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import policies

TIME, ENV, INPUT, SIZE = 9, 3, 4, 5


def make(name):
    if name == "encoded":
        return policies.encoded(policies.torso((6,)), policies.ssm(SIZE))
    if name == "side_by_side":
        return policies.side_by_side(policies.gru(SIZE), policies.ssm(SIZE))
    return policies.CELLS[name](SIZE)


@pytest.fixture(params=["gru", "ssm", "encoded", "side_by_side"])
def cell(request):
    return make(request.param)


@pytest.fixture
def sequences(rng):
    """Inputs, and where sequences begin: one at the first step of all, two on end, one at the last step."""
    first = np.zeros((TIME, ENV), bool)
    first[[0, 3, 4, 8], [0, 1, 1, 2]] = True
    return jnp.asarray(rng.normal(size=(TIME, ENV, INPUT))), jnp.asarray(first)


def started(cell, xs):
    """Parameters, and a carry that is not the beginning's."""
    params = cell.init(jax.random.key(0), xs[0, 0])
    carry, _ = cell.step(params, cell.begin(ENV), xs[-1])
    return params, carry


def test_an_unroll_is_its_steps(cell, sequences, float64):
    xs, first = np.asarray(sequences[0], np.float64), sequences[1]
    xs = jnp.asarray(xs)
    params, carry = started(cell, xs)
    carries, features = jax.jit(cell.unroll)(params, carry, xs, first)
    for t in range(TIME):
        fresh = first[t][:, None]
        carry = jax.tree.map(lambda new, old, fresh=fresh: jnp.where(fresh, new, old), cell.begin(ENV), carry)
        carry, expected = cell.step(params, carry, xs[t])
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-13),
            jax.tree.map(lambda x, t=t: x[t], (carries, features)),
            (carry, expected),
        )


@pytest.mark.slow
def test_nothing_crosses_the_beginning_of_a_sequence(cell, sequences):
    """Other inputs and another carry before it change no bit after it, though they change what comes before."""
    xs, first = sequences
    params, carry = started(cell, xs)
    start = 4  # of the environment 1
    other = xs.at[:start, 1].add(1e6)
    features = cell.unroll(params, carry, xs, first)[1]
    changed = cell.unroll(params, jax.tree.map(lambda x: x + 1e6, carry), other, first)[1]
    for a, b in zip(jax.tree.leaves(features), jax.tree.leaves(changed), strict=True):
        np.testing.assert_array_equal(a[start:, 1], b[start:, 1])
        assert np.all(np.any(a[:start] != b[:start], axis=-1)[:, 1])


def test_the_carry_of_the_start_counts_where_no_sequence_begins(cell, sequences):
    xs, first = sequences
    params, carry = started(cell, xs)
    ours, begun = (cell.unroll(params, start, xs, first)[1] for start in (carry, cell.begin(ENV)))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(begun), strict=True):
        differs = np.any(np.asarray(a != b), axis=-1)
        np.testing.assert_array_equal(differs[0], [False, True, True])


@pytest.mark.slow
@pytest.mark.parametrize("cell", policies.CELLS)
def test_gradients_are_those_of_finite_differences(cell, sequences, check_gradient):
    cell = make(cell)
    xs, first = np.asarray(sequences[0][:4], np.float64), sequences[1][:4]
    params, carry = started(cell, jnp.asarray(xs))
    leaves, structure = jax.tree.flatten(params)

    def loss(*leaves):
        _, features = cell.unroll(jax.tree.unflatten(structure, leaves), carry, jnp.asarray(xs), first)
        return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(features))

    check_gradient(loss, *leaves)


def test_gru_is_flax_gru(sequences, float64):
    xs = jnp.asarray(np.asarray(sequences[0], np.float64))
    cell = policies.gru(SIZE)
    params = cell.init(jax.random.key(0), xs[0, 0])
    keys = jax.random.split(jax.random.key(1), 2)
    params["bias"] = jax.random.normal(keys[0], params["bias"].shape, params["bias"].dtype)
    params["candidate_bias"] = jax.random.normal(keys[1], (SIZE,), params["bias"].dtype)
    parts = lambda x: dict(zip("rzn", jnp.split(x, 3, axis=-1), strict=True))
    kernels, recurrent, biases = (parts(params[name]) for name in ("input", "recurrent", "bias"))
    theirs = {f"i{name}": {"kernel": kernels[name], "bias": biases[name]} for name in "rzn"}
    theirs |= {f"h{name}": {"kernel": recurrent[name]} for name in "rzn"}
    theirs["hn"]["bias"] = params["candidate_bias"]
    carry = their_carry = cell.begin(ENV)
    for x in xs:
        carry, features = cell.step(params, carry, x)
        their_carry, expected = nn.GRUCell(SIZE).apply({"params": theirs}, their_carry, x)
        np.testing.assert_allclose(features, expected, rtol=0, atol=1e-13)


def test_ssm_is_its_equation(sequences, float64):
    """h_t = λ h_{t−1} + √(1−|λ|²) B x_t from a zero state, by NumPy's complex numbers."""
    xs = np.asarray(sequences[0], np.float64)
    cell = policies.ssm(SIZE, min_radius=0.2, max_radius=0.7)
    params = cell.init(jax.random.key(0), jnp.asarray(xs[0, 0]))
    p = jax.tree.map(np.asarray, params)
    eigenvalues = np.exp(-np.exp(p["nu"]) + 1j * np.exp(p["theta"]))
    radius = np.abs(eigenvalues)
    assert np.all((radius >= 0.2) & (radius <= 0.7))
    b, c = p["b_real"] + 1j * p["b_imaginary"], p["c_real"] + 1j * p["c_imaginary"]
    state = np.zeros((ENV, SIZE), complex)
    _, features = cell.unroll(params, cell.begin(ENV), jnp.asarray(xs), jnp.zeros((TIME, ENV), bool))
    for x, ours in zip(xs, features, strict=True):
        state = eigenvalues * state + np.sqrt(1 - radius**2) * (x @ b)
        expected = nn.gelu(jnp.asarray((state @ c).real + x @ p["d"] + p["bias"]))
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_the_state_of_an_ssm_has_the_size_of_its_input():
    """√(1−|λ|²) keeps the variance of a long sequence of white noise, however slowly the state forgets."""
    cell = policies.ssm(64, min_radius=0.98, max_radius=0.99)
    xs = jax.random.normal(jax.random.key(1), (1000, 2, 32))
    params = cell.init(jax.random.key(0), xs[0, 0])
    states, _ = cell.unroll(params, cell.begin(2), xs, jnp.zeros((1000, 2), bool))
    assert 0.8 < float(jnp.mean(jnp.abs(states[500:]) ** 2)) < 1.25
