"""Models of transformers, read and written: logits, greedy continuations, files and errors."""

import functools
import json
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers
from safetensors.numpy import load_file, save_file

from rlx.cli.errors import is_for_the_user, one_line
from rlx.policies.transformer import generation, model
from rlx.policies.transformer.config import Config, RopeScaling
from rlx.policies.transformer.pretrained import load_pretrained, load_tokenizer, save_pretrained
from tests.fuzz import language_files

GOLDEN = Path(__file__).parent / "golden"
MODELS = ("qwen2", "qwen3", "llama", "llama_biased")


@functools.cache
def loaded(name):
    return load_pretrained(GOLDEN / name, dtype="float32")


def tensors(folder):
    """All tensors of a folder by name, and the files that hold them."""
    files = sorted(folder.glob("*.safetensors"))
    return {name: tensor for file in files for name, tensor in load_file(file).items()}, files


def rewrite(folder, **tensors_by_name):
    """Replaces tensors in the first file that a folder has; None removes one."""
    file = sorted(folder.glob("*.safetensors"))[0]
    content = load_file(file) | tensors_by_name
    save_file({name: tensor for name, tensor in content.items() if tensor is not None}, file, {"format": "pt"})


def configure(folder, **entries):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


@pytest.fixture
def copy(tmp_path):
    return lambda name: Path(shutil.copytree(GOLDEN / name, tmp_path / name))


@pytest.mark.parametrize("name", MODELS)
def test_logits_and_greedy_continuations_equal_those_of_transformers(name):
    config, params = loaded(name)
    golden = dict(np.load(GOLDEN / name / "golden.npz"))
    tokens, where = jnp.asarray(golden["tokens"]), jnp.asarray(golden["where"])

    @jax.jit
    def run(params, stop):
        logits = model.apply(config, params, tokens, where=where)
        new = golden["greedy"].shape[1]
        options = {"max_new_tokens": new, "temperature": 0.0, "stop_tokens": stop}
        return logits, generation.generate(jax.random.key(0), config, params, tokens, where=where, **options)

    logits, free = run(params, jnp.asarray([-1]))
    assert where.sum() == 20  # of 30: two of the three prompts are padded
    np.testing.assert_allclose(logits[where], golden["logits"][golden["where"]], rtol=0, atol=1e-4)
    np.testing.assert_array_equal(free.tokens, golden["greedy"])
    _, stopped = run(params, golden["stop"][None])
    np.testing.assert_array_equal(stopped.tokens, golden["greedy_stopped"])
    assert stopped.where.sum() < free.where.sum()


@pytest.mark.parametrize("name", MODELS)
def test_saved_models_hold_the_tensors_of_transformers_and_load_as_they_were(name, tmp_path):
    config, params = load_pretrained(GOLDEN / name)
    assert params["embedding"].dtype == config.dtype == ("float32" if name == "llama" else "bfloat16")
    save_pretrained(tmp_path, config, params, source=GOLDEN / name, max_shard_size=30_000)
    again, reloaded = load_pretrained(tmp_path)
    assert again == config
    jax.tree.map(np.testing.assert_array_equal, reloaded, params)

    (ours, files), (theirs, _) = tensors(tmp_path), tensors(GOLDEN / name)
    assert ours.keys() == theirs.keys()
    for tensor in ours:
        np.testing.assert_array_equal(ours[tensor], theirs[tensor], err_msg=tensor)
    assert len(files) > 1 and (tmp_path / "model.safetensors.index.json").is_file()
    assert all(sum(tensor.nbytes for tensor in load_file(file).values()) <= 30_000 for file in files)
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (GOLDEN / name, tmp_path))
    del before["dtype"]
    assert before.items() <= after.items()
    assert (tmp_path / "tokenizer.json").is_file() == (name == "qwen2")


def test_what_says_how_to_talk_to_a_model_goes_with_it(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(GOLDEN / "qwen3", source)
    (source / "additional_chat_templates").mkdir()
    files = ("generation_config.json", "chat_template.jinja", "additional_chat_templates/tools.jinja")
    for number, file in enumerate(files):
        (source / file).write_text(f"{number}")
    save_pretrained(tmp_path / "copy", *load_pretrained(source), source=source)
    assert [(tmp_path / "copy" / file).read_text() for file in files] == ["0", "1", "2"]


def test_a_model_of_ones_own_is_one_file(tmp_path):
    config = Config(vocab_size=9, hidden_size=4, intermediate_size=6, num_heads=2, num_key_value_heads=1, head_dim=2)
    params = jax.jit(model.init, static_argnums=1)(jax.random.key(0), config)
    save_pretrained(tmp_path / "new", config, params)
    assert {file.name for file in (tmp_path / "new").iterdir()} == {"config.json", "model.safetensors"}
    again, reloaded = load_pretrained(tmp_path / "new")
    assert again == config
    jax.tree.map(np.testing.assert_array_equal, reloaded, params)
    with pytest.raises(FileExistsError, match=r"new holds weights already \(model\.safetensors\)"):
        save_pretrained(tmp_path / "new", config, params)
    with pytest.raises(ValueError, match=r"final_norm is \(5,\), but config says \(4,\)"):
        save_pretrained(tmp_path / "other", config, params | {"final_norm": jnp.ones(5)})
    with pytest.raises(ValueError, match="no architecture of qwen2, qwen3, llama has qk_norm=True, .*mlp_bias=True"):
        mixed = Config(vocab_size=9, qk_norm=True, mlp_bias=True)
        save_pretrained(tmp_path / "other", mixed, jax.eval_shape(lambda: model.init(jax.random.key(0), mixed)))
    assert not (tmp_path / "other").exists()


def test_rotary_entries_of_either_style_are_read(copy):
    folder = copy("llama")
    old = json.loads((folder / "config.json").read_text())
    configure(folder, rope_theta=None, rope_scaling=None, rope_parameters=old["rope_scaling"] | {"rope_theta": 100.0})
    config, _ = load_pretrained(folder)
    assert config.rope_theta == 100.0 and config.rope_scaling == RopeScaling(8.0, 1.0, 4.0, 32)
    assert config == load_pretrained(GOLDEN / "llama")[0]
    configure(folder, rope_parameters={"rope_theta": 500.0, "rope_type": "default"})
    config, _ = load_pretrained(folder)
    assert config.rope_theta == 500.0 and config.rope_scaling is None
    configure(folder, rope_parameters=old["rope_scaling"] | {"factor": None, "rope_type": "yarn"})
    with pytest.raises(ValueError, match="rope_type='yarn', not supported; 'default' and 'llama3' are"):
        load_pretrained(folder)
    configure(folder, rope_parameters={"rope_type": "llama3", "factor": 8.0})
    with pytest.raises(ValueError, match="lacks low_freq_factor of rope_type 'llama3'"):
        load_pretrained(folder)


@pytest.mark.parametrize(
    "entries, message",
    [
        ({"model_type": "qwen3_moe"}, "model_type='qwen3_moe', which is not supported; dense models of qwen2, qwen3"),
        ({"architectures": ["Qwen2ForTokenClassification"]}, "of qwen2, Qwen2ForCausalLM is"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"quantization_config": {"bits": 4}}, "weights must be floating-point"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding_window"),
        (
            {"layer_types": None, "use_sliding_window": True, "sliding_window": 32, "max_window_layers": 1},
            "sliding_window=32, which is not supported; all layers must attend",
        ),
        ({"hidden_size": None}, "config.json lacks hidden_size"),
        ({"dtype": "float16"}, "dtype='float16'; load with dtype='float32' or 'bfloat16'"),
        (
            {"intermediate_size": 41},
            r"mlp\.down_proj\.weight has the shape \(32, 40\), but config.json asks for \(32, 41",
        ),
        ({"num_hidden_layers": 3}, "lacks tensors .*: model.layers.2.input_layernorm.weight, .* and 9 more"),
        ({"num_hidden_layers": 1}, "has unexpected tensors .*: model.layers.1.input_layernorm.weight, "),
        ({"tie_word_embeddings": False}, "lacks tensors .*: lm_head.weight$"),
        ({"hidden_size": "16"}, "config.json has hidden_size='16', which must be a whole number of at least 1"),
        ({"num_attention_heads": 0}, "num_attention_heads=0, which must be a whole number of at least 1"),
        ({"num_hidden_layers": -1}, "num_hidden_layers=-1, which must be"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps=nan, which must be a positive, finite number"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings='yes', which must be true or false"),
        ({"model_type": ["qwen2"]}, r"model_type=\['qwen2'\], which is not supported"),
        ({"rope_parameters": 3}, "rope_parameters=3, which must be an object"),
        ({"layer_types": "full"}, "layer_types='full', which must be a list"),
        ({"num_key_value_heads": 3}, "describes no model: num_key_value_heads must divide num_heads"),
        # Neither the memory of such a model nor so many names are asked for.
        ({"vocab_size": 10**12}, r"a model of 3.2e\+13 parameters, which take .* GiB at least, but there are"),
        ({"num_hidden_layers": 10**6}, "lacks tensors .*: model.layers.10.input_layernorm.weight"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(copy, entries, message):
    folder = copy("qwen2")
    configure(folder, **entries)
    with pytest.raises(ValueError, match=message):
        load_pretrained(folder)


def test_a_window_that_no_layer_uses_is_no_obstacle(copy):
    folder = copy("qwen2")
    configure(folder, layer_types=None, use_sliding_window=True, sliding_window=32, max_window_layers=2)
    assert load_pretrained(folder)[0] == load_pretrained(GOLDEN / "qwen2")[0]


def test_files_that_do_not_fit_are_refused(copy, tmp_path):
    folder = copy("qwen2")
    # A tied output matrix may be in the file, and old files hold rotary frequencies.
    rewrite(folder, **{"lm_head.weight": np.zeros(1), "model.layers.0.self_attn.rotary_emb.inv_freq": np.zeros(1)})
    load_pretrained(folder)
    rewrite(folder, **{"model.norm.weight": np.zeros(32, np.int8)})
    with pytest.raises(ValueError, match="model.norm.weight has dtype I8; weights must be floating-point"):
        load_pretrained(folder)
    rewrite(folder, **{"model.norm.weight": None, "model.nrom.weight": np.zeros(32)})
    with pytest.raises(ValueError, match="qwen2 lacks tensors .*: model.norm.weight$"):
        load_pretrained(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="neither model.safetensors nor .*pytorch_model.bin.*converted"):
        load_pretrained(folder)
    with pytest.raises(ValueError, match="no config.json in .*nowhere"):
        load_pretrained(tmp_path / "nowhere")

    folder = copy("llama")
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ValueError, match="lacks the shard model-00002-of-00002.safetensors, which holds lm_head"):
        load_pretrained(folder)


def test_sizes_are_told_without_arrays():
    for name in MODELS:
        config, params = loaded(name)
        assert config.num_parameters == sum(leaf.size for leaf in jax.tree.leaves(params))
    with pytest.raises(ValueError, match="rope_scaling must be above low_freq_factor"):
        Config(vocab_size=9, rope_scaling=RopeScaling(8.0, 4.0, 1.0, 32))


DAMAGED = [
    (name, make)
    for name, make in language_files.cases()
    if name.startswith(("model.safetensors", "tokenizer.json")) and not any(at in name for at in ("seed", "cut"))
]


@pytest.mark.parametrize("name, make", DAMAGED, ids=[name for name, _ in DAMAGED])
def test_damaged_files_load_or_are_named(tmp_path, name, make):
    path = make(tmp_path)
    try:
        load_pretrained(path)
        load_tokenizer(path)
    except ValueError as error:
        assert str(path) in one_line(error) and is_for_the_user(error)


def test_weights_that_are_no_numbers_are_named(tmp_path):
    folder = language_files.model(tmp_path)
    rewrite(folder, **{"model.norm.weight": np.array([1, 2, np.nan, 3], np.float32)})
    with pytest.raises(ValueError, match="model.norm.weight in .*model.safetensors has numbers that are NaN"):
        load_pretrained(folder)


def test_an_index_names_files_of_its_folder_alone(tmp_path):
    (tmp_path / "model").mkdir()
    folder = language_files.sharded(tmp_path / "model")
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    for outside in ("../model-0.safetensors", str(tmp_path / "model-0.safetensors")):
        shutil.copyfile(folder / "model-0.safetensors", tmp_path / "model-0.safetensors")
        changed = {name: outside if file == "model-0.safetensors" else file for name, file in index.items()}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": changed}))
        with pytest.raises(ValueError, match="must name files of its own folder alone, but .* lies in '"):
            load_pretrained(folder)


def test_links_of_a_cache_are_followed(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    for file in language_files.sharded(tmp_path / "blobs").iterdir():
        (tmp_path / "snapshot" / file.name).symlink_to(file)
    ours, theirs = (load_pretrained(tmp_path / name)[1] for name in ("snapshot", "blobs"))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert load_tokenizer(tmp_path / "snapshot").get_vocab() == load_tokenizer(tmp_path / "blobs").get_vocab()


def test_a_tokenizer_has_no_more_tokens_than_the_model(tmp_path):
    folder = language_files.model(tmp_path)
    load_tokenizer(folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"]["far"] = language_files.VOCABULARY
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="tokenizer.json has tokens up to 8, but the model has vocab_size=8 of them"):
        load_tokenizer(folder)


def test_a_tokenizer_neither_cuts_nor_pads(tmp_path):
    """Those that were saved by a trainer often have both in their files."""
    tokenizer = tokenizers.Tokenizer.from_file(str(GOLDEN / "qwen2" / "tokenizer.json"))
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).encode("1 2 + 3").ids == [2, 3, 11, 4]


def test_tokenizers_are_those_of_the_folder(monkeypatch):
    tokenizer = load_tokenizer(GOLDEN / "qwen2")
    assert tokenizer.encode("1 2 + 3 = 1 5").ids == [2, 3, 11, 4, 12, 2, 6]
    assert tokenizer.decode([2, 3, 11]) == "1 2 +"
    with pytest.raises(ValueError, match="no tokenizer at .*llama/tokenizer.json: it must be a tokenizer.json"):
        load_tokenizer(GOLDEN / "llama")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match="needs the library tokenizers"):
        load_tokenizer(GOLDEN / "qwen2")
