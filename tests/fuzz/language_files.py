"""Damaged files of language models, made from small valid ones: the same ones every time.

for name, make_damaged in cases():
    path = make_damaged(folder)  # a folder of a model, a file of questions (.jsonl) or of warmed-up policies (.npz)
    load(path)
"""

import io
import json
import pickle
import random
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from safetensors.numpy import save, save_file

from tests.fuzz.damage import CUTS, REPLACED, Make, cut, replaced

DEEP = 100_000
WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
TOKENIZER, TOKENIZER_CONFIG, GENERATION_CONFIG = "tokenizer.json", "tokenizer_config.json", "generation_config.json"
WORDS = ("<pad>", "<end>", "+", "=", "1", "2", "3")
VOCABULARY, WIDTH = 8, 4


def cases() -> Iterator[tuple[str, Make]]:
    """Names of damaged files, and functions that make each in an empty folder and return its path."""
    flips = {model: {WEIGHTS: 40, CONFIG: 20, TOKENIZER: 40, TOKENIZER_CONFIG: 10}, sharded: {INDEX: 15}}
    flips |= {questions: {"sums.jsonl": 15}, columns: {"sums.parquet": 60}, policies: {"warmup.npz": 40}}
    for make, files in flips.items():
        for file, count in files.items():
            for seed in range(count):
                yield f"{file}: bytes flipped, seed {seed}", partial(flipped, make, file, seed)
            for share in CUTS:
                yield f"{file}: cut to {share:.0%}", partial(cut, make, file, share)
            for what in REPLACED:
                yield f"{file}: {what}", partial(replaced, make, file, what)
            yield f"{file}: nested deeply", partial(written, make, file, b"[" * DEEP + b"]" * DEEP)
            yield f"{file}: another kind of value", partial(written, make, file, b"[1, 2]")
            yield f"{file}: a pickle", partial(written, make, file, pickle.dumps({"a": 1}))
    for name, content in _weights():
        yield f"{WEIGHTS}: {name}", partial(written, model, WEIGHTS, content)
    for name, content in _indexes():
        yield f"{INDEX}: {name}", partial(written, sharded, INDEX, json.dumps(content).encode())
    for name, entries in _configs():
        yield f"{CONFIG}: {name}", partial(changed, model, CONFIG, entries)
    for name, entries in _tokenizers():
        yield f"{TOKENIZER}: {name}", partial(changed, model, TOKENIZER, entries)
    for name, entries in _tokenizer_configs():
        yield f"{TOKENIZER_CONFIG}: {name}", partial(changed, model, TOKENIZER_CONFIG, entries)
    for value in (None, 3, -1, 99, "<end>", 1.0, True, [], [1, 2], [[1]], [1, "2"], {"a": 1}):
        name = f"{GENERATION_CONFIG}: eos_token_id of {value!r}"
        yield name, partial(changed, model, GENERATION_CONFIG, {"eos_token_id": value})
    for name, line in _lines():
        yield f"sums.jsonl: {name}", partial(written, questions, "sums.jsonl", line)
    for name, content in _policies():
        yield f"warmup.npz: {name}", partial(written, policies, "warmup.npz", content)


def load(path: Path) -> Any:
    """All that a path holds, as training would read it."""
    from rlx.envs.language import chat, text
    from rlx.envs.language.tokens import Tokens, ends_of
    from rlx.policies import transformer
    from rlx.recipes import warm_start

    if path.suffix == ".npz":
        return warm_start.seeds_of(path)
    elif path.suffix in (".jsonl", ".parquet"):
        return text.read_file(path)
    else:
        weights = transformer.load_pretrained(path)
        tokens = Tokens(transformer.load_tokenizer(path))
        tokens.ends(ends_of(path))
        chat.template(path)([{"role": "user", "content": "1 + 2"}], add_generation_prompt=True)
        tokens.text(tokens.whole("1 + 2 ="))
        return weights


def tensors() -> dict[str, np.ndarray]:
    """Those of a Qwen2 of one layer."""
    layer, square = "model.layers.0.", np.eye(WIDTH, dtype=np.float32)
    found = {f"{layer}self_attn.{name}_proj.weight": square for name in "qkvo"}
    found |= {f"{layer}self_attn.{name}_proj.bias": square[0] for name in "qkv"}
    found |= {f"{layer}mlp.{name}_proj.weight": square for name in ("gate", "up", "down")}
    found |= {f"{layer}{name}_layernorm.weight": square[0] for name in ("input", "post_attention")}
    return found | {"model.norm.weight": square[0], "model.embed_tokens.weight": np.ones((VOCABULARY, WIDTH), "f4")}


def model(folder: Path) -> Path:
    """A valid folder of a model, its tokenizer and its chat template."""
    save_file(tensors(), folder / WEIGHTS, {"format": "pt"})
    description = {
        "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "vocab_size": VOCABULARY, "hidden_size": WIDTH,
        "intermediate_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
        "rms_norm_eps": 1e-6, "rope_theta": 1e4, "max_position_embeddings": 64, "tie_word_embeddings": True,
        "torch_dtype": "float32",
    }  # fmt: skip
    (folder / CONFIG).write_text(json.dumps(description))
    vocabulary = {word: token for token, word in enumerate(WORDS)}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<pad>"},
    }  # fmt: skip
    (folder / TOKENIZER).write_text(json.dumps(tokenizer))
    template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    (folder / TOKENIZER_CONFIG).write_text(json.dumps({"eos_token": "<end>", "chat_template": template}))
    (folder / GENERATION_CONFIG).write_text(json.dumps({"eos_token_id": [1]}))
    return folder


def sharded(folder: Path) -> Path:
    """The same with its weights in two files and their index."""
    model(folder)
    (folder / WEIGHTS).unlink()
    weight_map = {name: f"model-{number % 2}.safetensors" for number, name in enumerate(tensors())}
    for file in set(weight_map.values()):
        save_file({name: x for name, x in tensors().items() if weight_map[name] == file}, folder / file)
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return folder


def questions(folder: Path) -> Path:
    """A valid file of questions and answers."""
    rows = [json.dumps({"question": f"{a} + 1 =", "answer": f"ü {a + 1}"}, ensure_ascii=False) for a in range(4)]
    (folder / "sums.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return folder / "sums.jsonl"


def columns(folder: Path) -> Path:
    """A valid file of questions and answers in Parquet, chats among them."""
    chats = [[{"role": "user", "content": f"{a} + 1 ="}] for a in range(4)]
    table = pa.table({"question": chats, "answer": [f"ü {a + 1}" for a in range(4)]})
    pyarrow.parquet.write_table(table, folder / "sums.parquet")
    return folder / "sums.parquet"


def policies(folder: Path) -> Path:
    """A valid file of two warmed-up policies."""
    np.savez(folder / "warmup.npz", **_arrays())
    return folder / "warmup.npz"


def flipped(make: Make, file: str, seed: int, folder: Path) -> Path:
    """Three bytes of a file are others, most often near its beginning, where headers are."""
    path, draw = make(folder), random.Random(seed)
    content = bytearray((folder / file).read_bytes())
    for _ in range(3):
        content[draw.randrange(min(len(content), draw.choice((16, 400, 10**9))))] = draw.randrange(256)
    (folder / file).write_bytes(content)
    return path


def written(make: Make, file: str, content: bytes, folder: Path) -> Path:
    """A file holds something else."""
    path = make(folder)
    (folder / file).write_bytes(content)
    return path


def changed(make: Make, file: str, entries: dict[str, Any], folder: Path) -> Path:
    """An object in JSON has other entries."""
    return written(make, file, json.dumps(json.loads((make(folder) / file).read_text()) | entries).encode(), folder)


def _short(value: Any) -> str:
    """A value in a name, two of which are the same for no two values."""
    text = repr(value)
    return text if len(text) < 40 else f"{text[:10]}, {len(text)} long"


def _weights() -> Iterator[tuple[str, bytes]]:
    whole = save(tensors())
    length = struct.unpack("<Q", whole[:8])[0]
    header, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    name = "model.norm.weight"

    def file(header: Any, data: bytes = data, length: int | None = None) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + data

    def entry(**values: Any) -> bytes:
        return file(header | {name: header[name] | values})

    for beyond in (length + len(data) + 1, 2**31, 2**63, 2**64 - 1, 0, 1):
        yield f"header of {beyond} bytes", file(header, length=beyond)
    yield "header that is no JSON", file(b"{" + b"x" * 40)
    yield "header that is no UTF-8", file(b"\xff\xfe" * 20)
    yield "header of nothing", file({})
    yield "header nested deeply", file(b"[" * DEEP + b"]" * DEEP)
    begin, end = header[name]["data_offsets"]
    for offsets in ([0, end], [end, begin], [-1, end], [begin, 10**12], [begin, 2**70], ["0", "4"], [begin], None):
        yield f"data_offsets {offsets}", entry(data_offsets=offsets)
    for dtype in ("F33", "float32", "", "I8", "F8_E4M3", "BOOL", 32, None):
        yield f"dtype {dtype!r}", entry(dtype=dtype)
    for shape in ([5], [2, 2], [], [-4], ["4"], [2**40, 2**40], [2**64], [0], None):
        yield f"shape {shape}", entry(shape=shape)
    yield "an entry without a dtype", file(header | {name: {"shape": [4], "data_offsets": [begin, end]}})
    yield "a tensor more", save(tensors() | {"model.extra": np.ones(2)})
    yield "a tensor less", save({key: x for key, x in tensors().items() if key != name})
    yield "whole numbers", save(tensors() | {name: np.ones(4, np.int8)})
    for value in (np.nan, np.inf, 1e300):
        yield f"a weight of {value}", save(tensors() | {name: np.full(4, value)})
    yield "more bytes than the header says", whole + b"\0" * 9


def _indexes() -> Iterator[tuple[str, Any]]:
    yield "no weight_map", {"metadata": {}}
    for value in (None, [], {}, "model.safetensors", 3):
        yield f"weight_map of {value!r}", {"weight_map": value}
    outside = ("../model-0.safetensors", "/etc/passwd", "sub/model-0.safetensors", "..", ".", "", "\0", "a" * 300)
    for shard in (*outside, "..\\model", 7, None, ["model-0.safetensors"], "model-9.safetensors", CONFIG):
        yield f"a shard {_short(shard)}", {"weight_map": dict.fromkeys(tensors(), shard)}
    yield "one tensor", {"weight_map": {"model.norm.weight": "model-0.safetensors"}}


def _configs() -> Iterator[tuple[str, dict[str, Any]]]:
    numbers = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    numbers += ("num_key_value_heads", "head_dim", "rms_norm_eps", "max_position_embeddings", "rope_theta")
    others = ("tie_word_embeddings", "torch_dtype", "model_type", "architectures", "rope_scaling", "layer_types")
    values = ("16", -1, 0, 3, 10**12, 10**30, 10**400, 1.5, True, [], {"a": 1}, float("nan"), float("inf"), None)
    for name in (*numbers, *others, "rope_parameters", "quantization_config", "use_sliding_window"):
        for value in values:
            yield f"{name} of {_short(value)}", {name: value}
    for name in ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings", "rope_theta"):
        for value in ("8", -1, [], None, 10**400):
            scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
            scaling |= {"original_max_position_embeddings": 32, name: value}
            yield f"rope_scaling with {name} of {_short(value)}", {"rope_scaling": scaling}
    for layers in ("1", -1, {}, 1.5):
        windows = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": layers}
        yield f"max_window_layers of {layers!r}", windows


def _tokenizers() -> Iterator[tuple[str, dict[str, Any]]]:
    good = {word: token for token, word in enumerate(WORDS)}
    for name, vocabulary in (
        ("nothing", {}), ("a token too many", good | {"a": 7, "b": 8}), ("a far token", good | {"a": 2**32 - 1}),
        ("a token below 0", good | {"a": -1}), ("a token beyond 32 bits", good | {"a": 2**40}), ("texts", {"a": "0"}),
        ("a list", list(good)), ("two of one number", good | {"a": 1}), ("no token for the unknown", {"1": 0, "2": 1}),
    ):  # fmt: skip
        yield f"a vocabulary of {name}", {"model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<pad>"}}
    yield "a model of an unknown type", {"model": {"type": "Other", "vocab": good}}
    yield "no model", {"model": None}
    yield "a BPE whose merges are of no tokens", {"model": {"type": "BPE", "vocab": good, "merges": [["x", "y"]]}}
    yield "an endless pattern", {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Removed"}}
    charsmap = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    yield "a broken charsmap", {"normalizer": charsmap}
    yield "added tokens that are numbers", {"added_tokens": [1, 2]}
    yield "added tokens out of the vocabulary", {"added_tokens": [{"id": 99, "content": "<x>", "special": True}]}


def _tokenizer_configs() -> Iterator[tuple[str, dict[str, Any]]]:
    for value in (None, 3, [], {"content": 3}, {}, "", "<nowhere> <two>"):
        yield f"eos_token of {value!r}", {"eos_token": value}
    for value in (None, 3, [], "{{", "{{ nothing.of.it }}", "{{ ''.__class__.__mro__ }}", "{% include 'x' %}"):
        yield f"chat_template of {value!r}", {"chat_template": value}


def _lines() -> Iterator[tuple[str, bytes]]:
    deep = b"[" * DEEP + b"]" * DEEP
    yield "a text nested deeply", b'{"question": ' + deep + b', "answer": "2"}'
    yield "a text nested less deeply", b'{"question": ' + b"[" * 900 + b"]" * 900 + b', "answer": "2"}'
    yield "half a character", b'{"question": "\\ud800", "answer": "2"}'
    yield "no UTF-8", b'{"question": "\xff", "answer": "2"}'
    yield "a number of many digits", b'{"question": ' + b"1" * 5000 + b', "answer": "2"}'
    yield "nothing", b""
    yield "blanks", b" \n\n \n"
    yield "zeros", b"\0" * 4096
    for value in (b"1", b"null", b"[]", b"{}", b"true", b"NaN", b"1e999"):
        yield f"an answer of {value.decode()}", b'{"question": "1", "answer": ' + value + b"}"
    yield "no answer", b'{"question": "1"}'
    yield "two objects on a line", b'{"question": "1", "answer": "2"} {"question": "1", "answer": "2"}'


def _arrays() -> dict[str, np.ndarray]:
    return {"seed": np.array([3, 5]), "leaf0": np.ones((2, 3), "f4"), "leaf1": np.ones((2, 4, 4), "f4")}


def _policies() -> Iterator[tuple[str, bytes]]:
    def file(write: Callable = np.savez, **arrays: Any) -> bytes:
        given = {name: x for name, x in (_arrays() | arrays).items() if x is not None}
        write(box := io.BytesIO(), **given)
        return box.getvalue()

    yield "packed", file(np.savez_compressed, leaf1=np.zeros((2, 1000, 1000)))
    yield "objects", file(leaf0=np.array([{}, {}]))
    yield "no seeds", file(seed=None)
    yield "seeds that are texts", file(seed=np.array(["3", "5"]))
    yield "seeds in a table", file(seed=np.ones((2, 2), int))
    yield "a policy too few", file(leaf0=np.ones((1, 3)))
    yield "a missing part", file(leaf0=None)
    yield "no part", file(leaf0=None, leaf1=None)
    yield "NaN", file(leaf0=np.full((2, 3), np.nan))
    yield "whole numbers", file(leaf0=np.ones((2, 3), int))
    np.save(box := io.BytesIO(), np.ones(3))
    yield "a single array", box.getvalue()
    np.save(box := io.BytesIO(), np.array([{}]))
    yield "a single array of objects", box.getvalue()
