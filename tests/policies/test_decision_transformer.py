"""The network of Decision Transformer against NumPy in float64, and what may not reach what."""

import math

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import policies

SPACE = gymnasium.spaces.Box(np.float32([-1, 0]), np.float32([1, 4]))
BATCH, TIME, SIZE, HEADS, LAYERS, TIMESTEPS = 3, 4, 8, 2, 2, 6
RNG = np.random.default_rng(0)
INPUTS = {
    "observation": RNG.normal(size=(BATCH, TIME, 3)),
    "action": RNG.uniform(SPACE.low, SPACE.high, (BATCH, TIME, 2)),
    "return_to_go": RNG.normal(size=(BATCH, TIME)),
    "timestep": np.array([[0, 1, 2, 3], [4, 5, 6, 7], [2, 3, 0, 0]]),  # steps 6 and 7 share the last embedding
    "where": np.array([[True] * 4, [True] * 4, [True, True, False, False]]),
}


def network(**options):
    return policies.decision_transformer(
        SPACE, embedding_size=SIZE, num_layers=LAYERS, num_heads=HEADS, num_timesteps=TIMESTEPS, **options
    )


@pytest.fixture(scope="module")
def made():
    """Parameters of another size than the initial ones, which are too small for anything to matter, and `apply`."""
    built = network()
    params = jax.jit(built.init)(jax.random.key(0), *on_device(INPUTS))
    leaves, structure = jax.tree.flatten(params)
    leaves = [jnp.float32(RNG.normal(size=x.shape, scale=0.4) + (x == 1)) for x in leaves]
    apply = jax.jit(lambda params, inputs, key=None: built.apply(params, *inputs, key))
    return jax.tree.unflatten(structure, leaves), apply, params


def on_device(inputs):
    return [jnp.asarray(x, jnp.float32) if x.dtype == float else jnp.asarray(x) for x in inputs.values()]


def numpy_forward(params, observation, action, return_to_go, timestep, where):
    """One sequence at a time, one head at a time, one query at a time."""
    params = jax.tree.map(np.float64, params)["params"]
    dense = lambda p, x: x @ p["kernel"].reshape(x.shape[-1], -1) + p["bias"].reshape(-1)

    def normalize(p, x):
        centered = x - x.mean(-1, keepdims=True)
        return centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]

    gelu = np.vectorize(lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2)
    outputs = []
    for s, a, r, time, counts in zip(observation, action, return_to_go, timestep, where):
        tokens, valid = [], []
        for t in range(TIME):
            embedded = params["Embed_0"]["embedding"][min(time[t], TIMESTEPS - 1)]
            for name, x in (("Dense_0", r[t : t + 1]), ("Dense_1", s[t]), ("Dense_2", a[t])):
                tokens.append(dense(params[name], x * counts[t]) + embedded)
                valid.append(counts[t])
        x = normalize(params["LayerNorm_0"], np.array(tokens))
        for layer in range(LAYERS):
            block = params[f"_Block_{layer}"]
            attention, h = block["MultiHeadDotProductAttention_0"], normalize(block["LayerNorm_0"], x)
            q, k, v = (
                dense(attention[name], h).reshape(-1, HEADS, SIZE // HEADS) for name in ("query", "key", "value")
            )
            mixed = np.zeros_like(q)
            for i in range(len(x)):
                seen = [j for j in range(i + 1) if valid[j]]
                for head in range(HEADS):
                    if seen:
                        score = np.exp(q[i, head] @ k[seen, head].T / np.sqrt(SIZE // HEADS))
                        mixed[i, head] = score @ v[seen, head] / score.sum()
            out = attention["out"]
            x = x + mixed.reshape(-1, SIZE) @ out["kernel"].reshape(SIZE, SIZE) + out["bias"]
            h = dense(block["Dense_0"], normalize(block["LayerNorm_1"], x))
            x = x + dense(block["Dense_1"], gelu(h))
        raw = dense(params["Dense_3"], normalize(params["LayerNorm_1"], x)[1::3])
        outputs.append([0, 2] + np.array([1, 2]) * np.tanh(raw))
    return np.array(outputs)


def test_it_is_the_transformer_that_it_is_said_to_be(made):
    params, apply, _ = made
    expected = numpy_forward(params, *INPUTS.values())
    where = INPUTS["where"]
    np.testing.assert_allclose(apply(params, on_device(INPUTS))[where], expected[where], rtol=1e-4, atol=1e-5)
    assert expected.std(axis=(0, 1)).min() > 0.1


def changed_steps(made, name, step):
    """At which steps of the first sequence the action changes where one input does."""
    params, apply, _ = made
    other = {field: x.copy() for field, x in INPUTS.items()}
    other[name][0, step] += 0.5
    both = [np.asarray(apply(params, on_device(x)))[0] for x in (INPUTS, other)]
    return np.any(both[0] != both[1], axis=-1).tolist()


def test_an_action_reaches_later_steps_only_and_observation_and_return_their_own(made):
    assert changed_steps(made, "action", 1) == [False, False, True, True]
    assert changed_steps(made, "observation", 1) == [False, True, True, True]
    assert changed_steps(made, "return_to_go", 1) == [False, True, True, True]


def test_padding_changes_nothing_on_either_side_whatever_stands_there(made):
    params, apply, _ = made
    bare = np.asarray(apply(params, on_device(INPUTS)))[2, :2]
    moved = {name: x.copy() for name, x in INPUTS.items()}
    moved = {name: np.roll(x, 2, axis=1) for name, x in moved.items()}
    for inputs, valid in ((INPUTS, slice(0, 2)), (moved, slice(2, 4))):
        junk = {name: x.copy() for name, x in inputs.items()}
        padded = ~junk["where"]
        for name in ("observation", "action", "return_to_go"):
            junk[name][padded] = np.nan
        junk["timestep"][padded] = 5
        found = apply(params, on_device(junk))
        np.testing.assert_allclose(found[2, valid], bare, rtol=1e-5, atol=1e-6)
        total = lambda params: jnp.sum(jnp.where(junk["where"][..., None], apply(params, on_device(junk)), 0))
        assert all(jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(jax.grad(total)(params)))


def test_there_is_dropout_with_a_key_alone(made):
    params, apply, initial = made
    first, again, other = (apply(params, on_device(INPUTS), jax.random.key(i)) for i in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other) and not np.allclose(first, apply(params, on_device(INPUTS)))
    # Initially as PyTorch and the official code draw them.
    block = initial["params"]["_Block_0"]
    assert np.abs(block["MultiHeadDotProductAttention_0"]["query"]["kernel"]).max() <= np.sqrt(6 / (4 * SIZE))
    assert 0.015 < np.std(block["Dense_0"]["kernel"]) < 0.025 and not np.any(block["Dense_0"]["bias"])


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="num_heads must divide embedding_size=8, got num_heads=3"):
        policies.decision_transformer(SPACE, embedding_size=8, num_heads=3)
    with pytest.raises(ValueError, match="action_space must be a Box"):
        policies.decision_transformer(gymnasium.spaces.Discrete(3))
