"""Open weights: folders of Hugging Face's format to and from `(config, params)`, and their tokenizers.

Dense models of Qwen2 (and Qwen2.5), Qwen3 and Llama are read: `config.json` and one `model.safetensors` or shards with
their index. Tensors are read one by one into the stacked arrays, so that loading takes the memory of the model and
of its largest array.
"""

from __future__ import annotations

import contextlib
import functools
import json
import operator
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes  # noqa: F401  (teaches NumPy, and with it safetensors, bfloat16)
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, PyTree
from safetensors import safe_open
from safetensors.numpy import save_file

from rlx.policies.transformer import hf_config, partition
from rlx.policies.transformer.config import Config
from rlx.policies.transformer.model import init

CONFIG, WEIGHTS, INDEX, TOKENIZER = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
)

_LAYER = "model.layers.{}."
_MODULES = {
    "embedding": "model.embed_tokens",
    "attention_norm": f"{_LAYER}input_layernorm",
    "query": f"{_LAYER}self_attn.q_proj",
    "key": f"{_LAYER}self_attn.k_proj",
    "value": f"{_LAYER}self_attn.v_proj",
    "output": f"{_LAYER}self_attn.o_proj",
    "query_norm": f"{_LAYER}self_attn.q_norm",
    "key_norm": f"{_LAYER}self_attn.k_norm",
    "mlp_norm": f"{_LAYER}post_attention_layernorm",
    "gate": f"{_LAYER}mlp.gate_proj",
    "up": f"{_LAYER}mlp.up_proj",
    "down": f"{_LAYER}mlp.down_proj",
    "final_norm": "model.norm",
    "unembedding": "lm_head",
}

# transformers refuses files that do not say so.
_METADATA = {"format": "pt"}

_COMPANIONS = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template*",
    "generation_config.json",
)


def load_pretrained(
    path: str | os.PathLike, *, dtype: str | None = None, mesh: Mesh | None = None
) -> tuple[Config, PyTree]:
    """Reads a model of Qwen2, Qwen2.5, Qwen3 or Llama.

    Args:
        path: the folder.
        dtype: "float32" or "bfloat16" of parameters and products; what config.json says if None.
        mesh: devices with the axes `data` and `model` over which to lay each array as soon as it is read, by
            `partition.param_specs`; None takes JAX's default device.

    Returns:
        The configuration and the parameters, as `init` returns them.

    Raises:
        FileNotFoundError: for a missing folder, config.json or shard, or weights in another format.
        ValueError: for an architecture or option that is not supported, a tensor that is missing, of a wrong shape or
            kind, or not part of the model.
    """
    folder = Path(path)
    config = hf_config.from_hf(_read_json(folder / CONFIG), folder / CONFIG, dtype)
    leaves, structure = jax.tree_util.tree_flatten_with_path(jax.eval_shape(lambda: init(jax.random.key(0), config)))
    shardings = [None] * len(leaves)
    if mesh is not None:
        shardings = jax.tree.leaves(partition.shardings(mesh, partition.param_specs(config, mesh)))
    with contextlib.ExitStack() as stack:
        files = _open_weights(folder, stack)
        expected = {name for path, leaf in leaves for name in _names(path, leaf.shape)}
        _check_names(expected, files, folder, config)
        params = [
            jax.device_put(_read(files, path, leaf), sharding)
            for (path, leaf), sharding in zip(leaves, shardings, strict=True)
        ]
    return config, jax.tree.unflatten(structure, params)


def save_pretrained(
    path: str | os.PathLike,
    config: Config,
    params: PyTree,
    *,
    source: str | os.PathLike | None = None,
    max_shard_size: int = 5 * 10**9,
) -> None:
    """Writes a folder that `load_pretrained` and transformers read, in the dtype of the parameters.

    Args:
        path: the folder; it is made if it is missing.
        config: the configuration. Its features say which architecture it is: Qwen3, Qwen2 or Llama.
        params: parameters; adapters are merged first (`lora.merge`).
        source: the folder that the model came from: its tokenizer and generation_config.json are copied, and what else
            its config.json says is kept, such as the indices of special tokens.
        max_shard_size: most bytes of tensors in one file; a tensor that is larger has a file of its own.

    Raises:
        FileExistsError: if the folder holds weights already: shards of two models would be taken for one.
        ValueError: if no architecture has the configuration's features, or parameters have other shapes than it says.
    """
    folder = Path(path)
    if old := sorted(folder.glob("*.safetensors")):
        raise FileExistsError(f"{folder} holds weights already ({old[0].name}); save to a new folder, or remove them")
    original = {} if source is None else _read_json(Path(source) / CONFIG)
    _check_params(config, params)
    description = hf_config.to_hf(config, str(params["embedding"].dtype), original)

    folder.mkdir(parents=True, exist_ok=True)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    shards = _shards(leaves, max_shard_size)
    files = [
        WEIGHTS if len(shards) == 1 else f"model-{i:05d}-of-{len(shards):05d}.safetensors"
        for i in range(1, len(shards) + 1)
    ]
    for file, shard in zip(files, shards, strict=True):
        save_file({name: _tensor(path, leaf, layer) for name, path, leaf, layer in shard}, folder / file, _METADATA)
    if len(shards) > 1:
        weight_map = {name: file for file, shard in zip(files, shards, strict=True) for name, *_ in shard}
        size = sum(leaf.nbytes for _, leaf in leaves)
        _write_json(folder / INDEX, {"metadata": {"total_size": size}, "weight_map": weight_map})
    if source is not None:
        _copy_companions(Path(source), folder)
    _write_json(folder / CONFIG, description)


def load_tokenizer(path: str | os.PathLike):
    """The tokenizer of a folder, as a `tokenizers.Tokenizer`: `encode(text).ids` and `decode(ids)`.

    Args:
        path: the folder that holds tokenizer.json, or that file.

    Returns:
        The tokenizer.

    Raises:
        ImportError: if the library `tokenizers` is not installed.
        FileNotFoundError: if there is no tokenizer.json.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ImportError("load_tokenizer needs the library tokenizers: pip install 'rlx[tokenizers]'") from error
    file = Path(path)
    file = file / TOKENIZER if file.is_dir() else file
    if not file.is_file():
        raise FileNotFoundError(
            f"no tokenizer at {file}: it must be a tokenizer.json; a folder with another kind of tokenizer gets one by "
            "AutoTokenizer.from_pretrained(folder).save_pretrained(folder) of transformers"
        )
    return Tokenizer.from_file(str(file))


def _names(path, shape) -> Iterator[str]:
    """Names of the tensors that make a parameter, one for each layer where it is stacked."""
    keys = [entry.key for entry in path]
    stacked = keys[0] == "layers"
    module = keys[stacked]
    name = _MODULES[module] + (".bias" if keys[-1] == "bias" else ".weight")
    return (name.format(layer) for layer in range(shape[0])) if stacked else iter((name,))


def _transposed(path) -> bool:
    """Their matrices are [outputs, inputs]; an embedding is [vocabulary, width] here and there."""
    return path[-1].key == "kernel"


def _open_weights(folder, stack) -> dict:
    """The open file of each tensor."""
    if (folder / WEIGHTS).is_file():
        shards, weight_map = [WEIGHTS], None
    elif (folder / INDEX).is_file():
        weight_map = _read_json(folder / INDEX)["weight_map"]
        shards = sorted(set(weight_map.values()))
    else:
        found = ", ".join(sorted(file.name for file in folder.iterdir())) or "nothing"
        raise FileNotFoundError(
            f"{folder} has neither {WEIGHTS} nor {INDEX}, but {found}; other formats must be converted to safetensors"
        )
    for shard in shards:
        if not (folder / shard).is_file():
            first = next(name for name, file in weight_map.items() if file == shard)
            raise FileNotFoundError(
                f"{folder} lacks the shard {shard}, which holds {first} among others, as {INDEX} says; "
                "download it again"
            )
    opened = {shard: stack.enter_context(safe_open(folder / shard, framework="numpy")) for shard in shards}
    return functools.reduce(operator.or_, (dict.fromkeys(file.keys(), file) for file in opened.values()))


def _check_names(expected, files, folder, config):
    # Some files hold what follows from other tensors: a tied output matrix, and rotary frequencies.
    ignored = lambda name: name.endswith("rotary_emb.inv_freq") or (name == "lm_head.weight" and config.tie_embeddings)
    for what, names in (
        ("lacks", expected - set(files)),
        ("has unexpected", {name for name in files if not ignored(name)} - expected),
    ):
        if names:
            listed = ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise ValueError(f"{folder} {what} tensors for what its {CONFIG} describes: {listed}")


def _read(files, path, leaf) -> np.ndarray:
    """A parameter, read tensor by tensor."""
    stacked, names = path[0].key == "layers", list(_names(path, leaf.shape))
    shape = leaf.shape[stacked:]
    on_disk = shape[::-1] if _transposed(path) else shape
    array = np.empty((len(names), *shape), leaf.dtype)
    for row, name in zip(array, names, strict=True):
        tensor = files[name].get_tensor(name)
        if tensor.shape != on_disk:
            raise ValueError(f"{name} has the shape {tensor.shape}, but {CONFIG} asks for {on_disk}")
        if not jnp.issubdtype(tensor.dtype, jnp.floating):
            raise ValueError(f"{name} has dtype {tensor.dtype}; weights must be floating-point, not quantized")
        row[...] = tensor.T if _transposed(path) else tensor
    return array if stacked else array[0]


def _shards(leaves, max_shard_size) -> list[list[tuple]]:
    """(name, path, leaf, layer) of all tensors, in files that hold max_shard_size bytes at most."""
    tensors = [
        (name, path, leaf, layer if path[0].key == "layers" else None)
        for path, leaf in leaves
        for layer, name in enumerate(_names(path, leaf.shape))
    ]
    shards, room = [], 0
    for tensor in tensors:
        _, _, leaf, layer = tensor
        size = leaf.nbytes if layer is None else leaf.nbytes // leaf.shape[0]
        if not shards or size > room:
            shards.append([])
            room = max_shard_size
        shards[-1].append(tensor)
        room -= size
    return shards


def _tensor(path, leaf: Array, layer: int | None) -> np.ndarray:
    array = np.asarray(leaf if layer is None else leaf[layer])
    return np.ascontiguousarray(array.T if _transposed(path) else array)


def _check_params(config, params):
    shapes = lambda tree: {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    expected, given = shapes(jax.eval_shape(lambda: init(jax.random.key(0), config))), shapes(params)
    for name in sorted(expected.keys() | given.keys()):
        if expected.get(name) != given.get(name):
            raise ValueError(
                f"params must be those of config: {name} is {given.get(name)}, but config says {expected.get(name)}"
            )


def _copy_companions(source, folder):
    for pattern in _COMPANIONS:
        for file in source.glob(pattern):
            if file.is_file() and not (folder / file.name).exists():
                shutil.copyfile(file, folder / file.name)


def _read_json(file):
    if not file.is_file():
        raise FileNotFoundError(f"no {file.name} in {file.parent}: path must be a folder of a model")
    return json.loads(file.read_text())


def _write_json(file, content):
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
