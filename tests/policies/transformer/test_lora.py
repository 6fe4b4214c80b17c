"""Adapters: where they start, what they learn, what they become."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.policies.transformer import lora, model
from rlx.policies.transformer.config import Config
from rlx.policies.transformer.pretrained import load_pretrained, save_pretrained

CONFIG = Config(
    11, 8, 12, num_layers=2, num_heads=2, num_key_value_heads=1, head_dim=4, tie_embeddings=False, attention_bias=True
)
PARAMS = jax.jit(model.init, static_argnums=1)(jax.random.key(0), CONFIG)
TOKENS = jnp.arange(10).reshape(2, 5)
ALL = ("query", "key", "value", "output", "gate", "up", "down", "unembedding")


def filled(adapters):
    """The adapters with some numbers in place of the zeros."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), adapters)


@jax.jit
def apply(params):
    return model.apply(CONFIG, params, TOKENS)


def product(adapter):
    return np.einsum("...ir,...ro->...io", *(np.asarray(adapter[side], np.float64) for side in ("down", "up")))


def test_adapters_change_nothing_at_first():
    adapters = lora.init(jax.random.key(1), PARAMS, rank=3, matrices=ALL)
    jax.tree.map(np.testing.assert_array_equal, lora.merge(PARAMS, adapters), PARAMS)
    np.testing.assert_array_equal(apply(lora.attach(PARAMS, adapters)), apply(PARAMS))
    down = adapters["layers"]["down"]["down"]
    assert down.shape == (2, 12, 3) and jnp.abs(down).max() <= 12**-0.5 and jnp.std(down) > 0.4 * 12**-0.5
    # A matrix starts alike whichever others have adapters.
    some = lora.init(jax.random.key(1), PARAMS, rank=3, matrices=("down",))
    assert some.keys() == {"layers"} and some["layers"].keys() == {"down"}
    np.testing.assert_array_equal(some["layers"]["down"]["down"], down)


def test_merged_and_attached_adapters_are_the_kernel_plus_the_product():
    adapters = filled(lora.init(jax.random.key(1), PARAMS, rank=2, matrices=ALL))
    merged = lora.merge(PARAMS, adapters, scale=0.25)
    for name in ALL:
        part = lambda tree: (tree if name == "unembedding" else tree["layers"])[name]
        expected = part(PARAMS)["kernel"] + 0.25 * product(part(adapters))
        np.testing.assert_allclose(part(merged)["kernel"], expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(merged["layers"]["query"]["bias"], PARAMS["layers"]["query"]["bias"])
    attached = lora.attach(PARAMS, adapters, scale=0.25)
    np.testing.assert_allclose(apply(attached), apply(merged), rtol=1e-4, atol=1e-4)


def test_an_adapter_of_full_rank_can_become_any_matrix(rng):
    wanted = jnp.asarray(rng.normal(size=(2, 8, 12)), "float32")
    change = wanted - PARAMS["layers"]["gate"]["kernel"]
    adapters = {"layers": {"gate": {"down": jnp.broadcast_to(jnp.eye(8), (2, 8, 8)), "up": change}}}
    merged = lora.merge(PARAMS, adapters)
    np.testing.assert_allclose(merged["layers"]["gate"]["kernel"], wanted, atol=1e-6)


def test_only_adapters_have_gradients_and_they_follow_the_chain_rule():
    adapters = filled(lora.init(jax.random.key(1), PARAMS, rank=2, matrices=("query", "down", "unembedding")))
    loss = lambda params: jnp.sum(jnp.sin(model.apply(CONFIG, params, TOKENS)))
    of_merged = jax.jit(jax.grad(loss))(lora.merge(PARAMS, adapters, scale=0.1))

    def chain_rule(adapter, entry):
        down, up, kernel = (np.asarray(x, np.float64) for x in (adapter["down"], adapter["up"], entry["kernel"]))
        return {"down": 0.1 * kernel @ up.swapaxes(-1, -2), "up": 0.1 * down.swapaxes(-1, -2) @ kernel}

    expected = {
        "layers": {name: chain_rule(adapters["layers"][name], of_merged["layers"][name]) for name in ("query", "down")},
        "unembedding": chain_rule(adapters["unembedding"], of_merged["unembedding"]),
    }
    attached = jax.jit(jax.grad(lambda adapters, scale: loss(lora.attach(PARAMS, adapters, scale=scale))))(
        adapters, 0.1
    )
    (merged,) = jax.vjp(lambda adapters: lora.merge(PARAMS, adapters, scale=0.1), adapters)[1](of_merged)
    for gradient in (attached, merged):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4), gradient, expected)


def test_attached_adapters_are_not_rounded_away_over_a_bfloat16_kernel(rng):
    kernel = jnp.ones((1, 8, 8), "bfloat16")
    adapters = {"layers": {"gate": {"down": jnp.ones((1, 8, 1)), "up": jnp.full((1, 1, 8), 1e-3)}}}
    params = {"layers": {"gate": {"kernel": kernel}}}
    # Half of the spacing of bfloat16 at 1 is 0.004.
    np.testing.assert_array_equal(lora.merge(params, adapters)["layers"]["gate"]["kernel"], kernel)
    adapted = jax.tree.map(lambda leaf: leaf[0], lora.attach(params, adapters)["layers"]["gate"]["kernel"])
    x = jnp.asarray([[1.0, -1.0] * 4], "bfloat16").at[0, 0].set(1.5)
    np.testing.assert_allclose((x @ adapted.astype("bfloat16") - x @ kernel[0]).astype(float), 0, atol=0.004)
    np.testing.assert_allclose((x @ adapted)[0], 0.5 + 0.5e-3, rtol=1e-6)


def test_merged_models_are_saved_and_loaded(tmp_path):
    adapters = filled(lora.init(jax.random.key(1), PARAMS, rank=2))
    merged = lora.merge(PARAMS, adapters, scale=0.5)
    save_pretrained(tmp_path, CONFIG, merged)
    config, params = load_pretrained(tmp_path)
    assert config == CONFIG
    jax.tree.map(np.testing.assert_array_equal, params, merged)


def test_adapters_that_do_not_fit_are_refused():
    key = jax.random.key(1)
    with pytest.raises(ValueError, match="matrices must be of down, gate, .*, up, value; got 'qurey'"):
        lora.init(key, PARAMS, rank=2, matrices=("query", "qurey"))
    tied = {name: leaf for name, leaf in PARAMS.items() if name != "unembedding"}
    with pytest.raises(ValueError, match="got 'unembedding'"):
        lora.init(key, tied, rank=2, matrices=("unembedding",))
    for rank in (0, 9):
        with pytest.raises(ValueError, match=rf"rank must be from 1 to 8 for down \(2, 12, 8\), got {rank}"):
            lora.init(key, PARAMS, rank=rank)
    adapters = lora.init(key, PARAMS, rank=2, matrices=("query", "unembedding"))
    adapter = adapters["layers"]["query"]
    for join in (lora.merge, lora.attach):
        with pytest.raises(ValueError, match=r"up \(2, 2, 7\) of layers/query must be factors .* \(2, 8, 8\)"):
            join(PARAMS, {"layers": {"query": adapter | {"up": jnp.zeros((2, 2, 7))}}})
        with pytest.raises(ValueError, match="got one of layers/other"):
            join(PARAMS, {"layers": {"other": adapter}})
        with pytest.raises(ValueError, match="got one of unembedding"):
            join(tied, adapters)
