import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.policies import transformer
from rlx.policies.transformer import Config, RopeScaling, model

TINY = Config(
    vocab_size=11, hidden_size=12, intermediate_size=20, num_layers=2, num_heads=4, num_key_value_heads=2, head_dim=6
)
CONFIGS = {
    # Wavelengths of 2π, 23 and 85 tokens: one is left alone, one interpolated, one stretched in full.
    "llama3": dataclasses.replace(
        TINY,
        rope_theta=50.0,
        rope_scaling=RopeScaling(8.0, 1.0, 4.0, 60),
        tie_embeddings=False,
        attention_bias=True,
        attention_output_bias=True,
        mlp_bias=True,
    ),
    "qwen2": dataclasses.replace(TINY, attention_bias=True),
    "qwen3": dataclasses.replace(TINY, num_layers=5, qk_norm=True, head_dim=8, rms_norm_eps=1e-2),
}
apply = jax.jit(transformer.apply, static_argnums=0, static_argnames="remat")
init = jax.jit(transformer.init, static_argnums=1)


@pytest.fixture(scope="module", autouse=True)
def quick_compilation():
    """As for functions: each program runs once, on a few numbers."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@functools.cache
def parameters(config, seed=0):
    """Random biases and norms too, since at initialization they do nothing; and logits of some size."""
    leaves, structure = jax.tree.flatten(init(jax.random.key(seed), config))
    noise = np.random.default_rng(seed)
    leaves = [leaf + noise.normal(scale=0.3, size=leaf.shape).astype(leaf.dtype) for leaf in leaves]
    return jax.tree.unflatten(structure, leaves)


@pytest.fixture(scope="module")
def tokens():
    return jnp.asarray(np.random.default_rng(1).integers(0, 11, (3, 9)))


def numpy_norm(x, scale, eps):
    return x / np.sqrt(np.mean(x * x) + eps) * scale


def numpy_rotate(config, head, position):
    half = config.head_dim // 2
    turned = np.zeros(config.head_dim)
    for i in range(half):
        frequency = 1 / config.rope_theta ** (2 * i / config.head_dim)
        if (scaling := config.rope_scaling) is not None:
            wavelength = 2 * np.pi / frequency
            low = scaling.original_max_position_embeddings / scaling.low_freq_factor
            high = scaling.original_max_position_embeddings / scaling.high_freq_factor
            if wavelength > low:
                frequency /= scaling.factor
            elif wavelength >= high:
                smooth = (scaling.original_max_position_embeddings / wavelength - scaling.low_freq_factor) / (
                    scaling.high_freq_factor - scaling.low_freq_factor
                )
                frequency = (1 - smooth) * frequency / scaling.factor + smooth * frequency
        z = (head[i] + 1j * head[i + half]) * np.exp(1j * position * frequency)
        turned[i], turned[i + half] = z.real, z.imag
    return turned


def numpy_logits(config, params, tokens):
    """One sequence without padding, token by token and head by head, in float64."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    dense = lambda layer, x: x @ layer["kernel"] + layer.get("bias", 0)
    x = [params["embedding"][token] for token in tokens]
    for n in range(config.num_layers):
        layer = jax.tree.map(lambda leaf: leaf[n], params["layers"])
        queries, keys, values = [], [], []
        for t in range(len(tokens)):
            y = numpy_norm(x[t], layer["attention_norm"], config.rms_norm_eps)
            heads = {name: np.split(dense(layer[name], y), count) for name, count in (
                ("query", config.num_heads), ("key", config.num_key_value_heads), ("value", config.num_key_value_heads)
            )}  # fmt: skip
            for name in ("query", "key"):
                if config.qk_norm:
                    heads[name] = [numpy_norm(h, layer[f"{name}_norm"], config.rms_norm_eps) for h in heads[name]]
                heads[name] = [numpy_rotate(config, h, t) for h in heads[name]]
            queries.append(heads["query"]), keys.append(heads["key"]), values.append(heads["value"])
        for t in range(len(tokens)):
            attended = []
            for h in range(config.num_heads):
                shared = h * config.num_key_value_heads // config.num_heads
                score = [queries[t][h] @ keys[s][shared] / np.sqrt(config.head_dim) for s in range(t + 1)]
                weight = np.exp(score - np.max(score))
                attended.append(sum(w * values[s][shared] for s, w in enumerate(weight / weight.sum())))
            x[t] = x[t] + dense(layer["output"], np.concatenate(attended))
            y = numpy_norm(x[t], layer["mlp_norm"], config.rms_norm_eps)
            gate = dense(layer["gate"], y)
            x[t] = x[t] + dense(layer["down"], gate / (1 + np.exp(-gate)) * dense(layer["up"], y))
    x = np.stack([numpy_norm(y, params["final_norm"], config.rms_norm_eps) for y in x])
    return x @ (params["embedding"].T if config.tie_embeddings else params["unembedding"]["kernel"])


@pytest.mark.parametrize("name", CONFIGS)
def test_equals_numpy_with_padding_on_either_side(name, tokens) -> None:
    config, params = CONFIGS[name], parameters(CONFIGS[name])
    spans = [(0, 9), (4, 9), (0, 6)]
    where = jnp.array([[start <= t < stop for t in range(9)] for start, stop in spans])
    padded = jnp.where(where, tokens, jnp.array([[0], [99], [-1]]))  # not even in the vocabulary
    logits = apply(config, params, padded, where=where)
    assert logits.dtype == jnp.float32 and np.all(np.isfinite(logits))
    for row, (start, stop) in enumerate(spans):
        expected = numpy_logits(config, params, np.asarray(tokens[row, start:stop]))
        np.testing.assert_allclose(logits[row, start:stop], expected, rtol=1e-5, atol=1e-5)


def test_is_causal(tokens) -> None:
    config = CONFIGS["qwen2"]
    before = apply(config, parameters(config), tokens)
    after = apply(config, parameters(config), tokens.at[:, 4].set((tokens[:, 4] + 1) % 11))
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert np.all(np.any(before[:, 4:] != after[:, 4:], -1))


@pytest.mark.parametrize("name", ["llama3", "qwen3"])
def test_a_cache_equals_the_whole(name, tokens) -> None:
    config = dataclasses.replace(CONFIGS[name], num_layers=2)
    params = parameters(config)
    where = jnp.ones((3, 9), bool).at[0, :2].set(False).at[1, 3:5].set(False).at[2, 5].set(False)
    whole = apply(config, params, tokens, where=where)
    cache, parts = transformer.init_cache(config, (3,), capacity=11), []
    for t in range(0, 9, 3):
        span = slice(t, t + 3)
        logits, cache = apply(config, params, tokens[:, span], where=where[:, span], cache=cache)
        parts.append(logits)
    np.testing.assert_allclose(jnp.concatenate(parts, 1)[where], whole[where], rtol=1e-5, atol=2e-5)
    assert cache.length == 9
    np.testing.assert_array_equal(cache.position, where.sum(-1))
    np.testing.assert_array_equal(cache.where[:, :9], where)
    # Of the two slots that are left, none may be overwritten in silence.
    assert np.all(np.isnan(apply(config, params, tokens[:, :3], where=where[:, :3], cache=cache)[0]))


def test_grouped_heads_equal_repeated_ones(tokens) -> None:
    config, params = CONFIGS["qwen2"], parameters(CONFIGS["qwen2"])
    repeat = lambda leaf: jnp.repeat(leaf.reshape(*leaf.shape[:-1], 2, 6), 2, axis=-2).reshape(*leaf.shape[:-1], 24)
    layers = params["layers"] | {name: jax.tree.map(repeat, params["layers"][name]) for name in ("key", "value")}
    full = dataclasses.replace(config, num_key_value_heads=4)
    actual = apply(full, params | {"layers": layers}, tokens)
    np.testing.assert_allclose(actual, apply(config, params, tokens), rtol=1e-5, atol=1e-5)


def test_only_distances_of_positions_count(tokens) -> None:
    config, params = CONFIGS["llama3"], parameters(CONFIGS["llama3"])
    positions = jnp.broadcast_to(jnp.arange(9), (3, 9))
    logits = apply(config, params, tokens)
    np.testing.assert_allclose(apply(config, params, tokens, positions=positions + 40), logits, rtol=1e-4, atol=5e-5)
    assert np.max(np.abs(apply(config, params, tokens, positions=2 * positions) - logits)) > 0.1


def test_tied_equals_untied_with_the_transpose(tokens) -> None:
    config, params = CONFIGS["qwen2"], parameters(CONFIGS["qwen2"])
    untied = dataclasses.replace(config, tie_embeddings=False)
    actual = apply(untied, params | {"unembedding": {"kernel": params["embedding"].T}}, tokens)
    np.testing.assert_allclose(actual, apply(config, params, tokens), rtol=1e-5, atol=1e-6)


def test_one_loop_and_rematerialization_change_no_gradient(tokens, monkeypatch) -> None:
    config = dataclasses.replace(CONFIGS["qwen3"], num_layers=2)
    score = lambda params, remat: jnp.sum(jnp.sin(transformer.apply(config, params, tokens, remat=remat)))
    gradient = lambda remat: jax.jit(jax.grad(functools.partial(score, remat=remat)))(parameters(config))
    expected = gradient(False)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(expected))
    monkeypatch.setattr(model, "UNROLLED", 1)
    actual = gradient(True)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), actual, expected)


def test_blocks_of_queries_equal_all_at_once(monkeypatch) -> None:
    """Three blocks, the last one filled up, with padding on both sides; also behind a cache."""
    config = dataclasses.replace(CONFIGS["qwen2"], num_layers=1)
    time = 2 * model.QUERIES + 77
    tokens = jnp.asarray(np.random.default_rng(2).integers(0, 11, (2, time)))
    where = (jnp.arange(time) >= jnp.array([[0], [300]])) & (jnp.arange(time) < jnp.array([[time], [time - 9]]))
    weight = jnp.asarray(np.random.default_rng(3).normal(size=(2, time, 11)), jnp.float32) * where[..., None]

    def found():
        score = lambda params: jnp.sum(
            weight * jax.nn.log_softmax(transformer.apply(config, params, tokens, where=where))
        )
        return jax.jit(jax.value_and_grad(score))(parameters(config))

    def behind_a_cache():
        cache = transformer.init_cache(config, (2,), capacity=time)
        logits, cache = transformer.apply(config, parameters(config), tokens[:, :50], where=where[:, :50], cache=cache)
        rest, _ = transformer.apply(config, parameters(config), tokens[:, 50:], where=where[:, 50:], cache=cache)
        return jnp.where(where[..., None], jnp.concatenate([logits, rest], axis=1), 0)

    in_blocks, cached = found(), behind_a_cache()
    monkeypatch.setattr(model, "QUERIES", time)
    at_once, plain = found(), transformer.apply(config, parameters(config), tokens, where=where)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), in_blocks, at_once)
    np.testing.assert_allclose(cached, jnp.where(where[..., None], plain, 0), rtol=1e-4, atol=1e-4)


def test_memory_of_a_gradient_grows_with_the_length_and_not_with_its_square() -> None:
    config = dataclasses.replace(CONFIGS["qwen2"], num_layers=1)

    def temporaries(time):
        def score(params, tokens):
            return jnp.sum(transformer.token_log_prob(config, params, tokens, remat=True, chunk=64).log_prob)

        shapes = jax.eval_shape(functools.partial(transformer.init, config=config), jax.random.key(0))
        lowered = jax.jit(jax.grad(score)).lower(shapes, jax.ShapeDtypeStruct((2, time), jnp.int32))
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert temporaries(8192) < 2.2 * temporaries(4096)


def test_dtypes(tokens) -> None:
    config = dataclasses.replace(CONFIGS["qwen3"], dtype="bfloat16", num_layers=2)
    params = parameters(config)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.bfloat16)}
    masters = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    logits, from_masters = apply(config, params, tokens), apply(config, masters, tokens)
    assert logits.dtype == jnp.float32
    np.testing.assert_array_equal(logits, from_masters)
    wide = apply(dataclasses.replace(config, dtype="float32"), masters, tokens)
    np.testing.assert_allclose(logits, wide, atol=0.05 * np.max(np.abs(wide)))
    assert np.any(logits != wide)


def test_initialization() -> None:
    config = dataclasses.replace(CONFIGS["llama3"], hidden_size=64, intermediate_size=96)
    params = init(jax.random.key(0), config)
    layers = params["layers"]
    deviations = {
        "embedding": (params["embedding"], 0.02),
        "unembedding": (params["unembedding"]["kernel"], 0.02),
        "query": (layers["query"]["kernel"], 64**-0.5),
        "output": (layers["output"]["kernel"], 24**-0.5 / 2),
        "down": (layers["down"]["kernel"], 96**-0.5 / 2),
    }
    for name, (leaf, expected) in deviations.items():
        np.testing.assert_allclose(np.std(leaf), expected, rtol=0.1, err_msg=name)
    assert layers["value"]["kernel"].shape == (2, 64, 12) and layers["key"]["bias"].shape == (2, 12)
    assert not np.any(layers["up"]["bias"]) and np.all(layers["mlp_norm"] == 1)
    assert not np.allclose(layers["gate"]["kernel"], layers["up"]["kernel"])


def test_wrong_input_is_named(tokens, unannotated) -> None:
    config, params = CONFIGS["qwen2"], parameters(CONFIGS["qwen2"])
    call = functools.partial(transformer.apply, config, params)
    assert np.all(np.isnan(apply(config, params, tokens.at[1, 4].set(11))[1, 4]))
    with unannotated:
        with pytest.raises(ValueError, match="tokens must be integers, got dtype float32"):
            call(tokens.astype(jnp.float32))
        with pytest.raises(ValueError, match="where must be a boolean mask"):
            call(tokens, where=jnp.ones((3, 9)))
        with pytest.raises(ValueError, match=r"where must have the shape \(3, 9\) of tokens, got \(9,\)"):
            call(tokens, where=jnp.ones(9, bool))
        with pytest.raises(ValueError, match=r"cache must be for sequences \(3,\), got one for \(2,\)"):
            call(tokens, cache=transformer.init_cache(config, (2,), 20))
        with pytest.raises(ValueError, match="fit into the cache's 4 slots, got 9"):
            call(tokens, cache=transformer.init_cache(config, (3,), 4))
        with pytest.raises(ValueError, match="num_layers=2 layers, got 5"):
            call(tokens, cache=transformer.init_cache(CONFIGS["qwen3"], (3,), 20))
    with pytest.raises(ValueError, match="num_key_value_heads must divide num_heads=4, got 3"):
        dataclasses.replace(config, num_key_value_heads=3)
    with pytest.raises(ValueError, match="head_dim must be even"):
        dataclasses.replace(config, head_dim=5)
    with pytest.raises(ValueError, match="dtype must be one of"):
        dataclasses.replace(config, dtype="half")
    with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
        dataclasses.replace(config, num_layers=0)
