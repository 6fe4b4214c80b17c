"""Open weights: folders of Hugging Face's format to and from `(config, params)`, and their tokenizers.

Dense models of Qwen2 (and Qwen2.5), Qwen3 and Llama are read: `config.json` and one `model.safetensors` or shards with
their index. Tensors are read one by one into the stacked arrays, so that loading takes the memory of the model and
of its largest array.

A folder is only read, whatever it holds: nothing in it is code, and its index names files of the folder alone. A file
may be a link, as in the cache of Hugging Face. What is wrong with a file is a ValueError that names it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import ml_dtypes  # noqa: F401  (teaches NumPy, and with it safetensors, bfloat16)
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, PyTree
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from rlx.policies.transformer import hf_config, memory, partition
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

# As safetensors calls the dtypes of weights.
_FLOATING = ("F16", "BF16", "F32", "F64")

_COMPANIONS = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template*",
    "additional_chat_templates/*.jinja",
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
        ValueError: for a missing folder, config.json or shard, weights in another format, a file that is damaged, an
            architecture or option that is not supported, a tensor that is missing, of a wrong shape or kind, not part
            of the model, or not finite, or a model that does not fit into memory.
    """
    folder = Path(path)
    config = read_config(folder, dtype)
    memory.check(config, str(folder / CONFIG), devices=None if mesh is None else [*mesh.devices.flat])
    with contextlib.ExitStack() as stack:
        files = _open_weights(folder, stack)
        _check_names(files, folder, config)
        leaves, structure = _shapes(config)
        shardings = [None] * len(leaves)
        if mesh is not None:
            shardings = jax.tree.leaves(partition.shardings(mesh, partition.param_specs(config, mesh)))
        for path, leaf in leaves:
            _check_tensors(files, path, leaf)
        params = [
            jax.device_put(_read(files, path, leaf), sharding)
            for (path, leaf), sharding in zip(leaves, shardings, strict=True)
        ]
    return config, jax.tree.unflatten(structure, params)


def read_config(path: str | os.PathLike, dtype: str | None = None) -> Config:
    """The configuration of a folder, without its weights.

    Args:
        path: the folder.
        dtype: as of `load_pretrained`.

    Raises:
        ValueError: as `load_pretrained`, of config.json alone.
    """
    file = Path(path) / CONFIG
    return hf_config.from_hf(_read_json(file), file, dtype)


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
        The tokenizer, which neither cuts nor pads, whatever its file says.

    Raises:
        ImportError: if the library `tokenizers` is not installed.
        ValueError: if there is no tokenizer.json, or none that the library reads, or it has tokens that the model
            beside it has no embedding of.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ImportError("load_tokenizer needs the library tokenizers: pip install 'rlx[tokenizers]'") from error
    folder = Path(path)
    file = folder / TOKENIZER if os.path.isdir(folder) else folder
    if not os.path.isfile(file):
        raise ValueError(
            f"no tokenizer at {file}: it must be a tokenizer.json; a folder with another kind of tokenizer gets one by "
            "AutoTokenizer.from_pretrained(folder).save_pretrained(folder) of transformers"
        )
    try:
        tokenizer = Tokenizer.from_file(str(file))
        last = max(tokenizer.get_vocab().values(), default=-1)
    except (KeyboardInterrupt, SystemExit):
        raise
    # The library has no class of errors of its own, and its panics are no `Exception`.
    except BaseException as error:
        raise ValueError(f"{file} is no tokenizer that the library tokenizers reads: {error}") from error
    if last < 0:
        raise ValueError(f"{file} has no tokens")
    if os.path.isfile(folder / CONFIG) and last >= (size := read_config(folder).vocab_size):
        raise ValueError(
            f"{file} has tokens up to {last}, but the model has vocab_size={size} of them, as {CONFIG} says: tokenizer "
            "and weights must be of one model"
        )
    # A file may hold both, of what its last user did; transformers passes over them too.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


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


def _shapes(config: Config):
    """The parameters' paths and shapes, and their structure."""
    return jax.tree_util.tree_flatten_with_path(jax.eval_shape(lambda: init(jax.random.key(0), config)))


def _open_weights(folder: Path, stack: contextlib.ExitStack) -> dict[str, tuple[Path, Any]]:
    """Of each tensor the file, and the same opened."""
    if os.path.isfile(folder / WEIGHTS):
        shards = [WEIGHTS]
    elif os.path.isfile(folder / INDEX):
        shards = _shards_of(folder)
    else:
        found = ", ".join(sorted(file.name for file in folder.glob("*"))[:10])
        raise ValueError(
            f"{folder} has neither {WEIGHTS} nor {INDEX}, but {found}; other formats must be converted to safetensors"
        )
    files = {}
    for shard in shards:
        try:
            opened = stack.enter_context(safe_open(folder / shard, framework="numpy"))
        except (SafetensorError, OSError, ValueError) as error:
            raise ValueError(f"{folder / shard} is no file of safetensors, or damaged: {error}") from error
        files |= dict.fromkeys(opened.keys(), (folder / shard, opened))
    return files


def _shards_of(folder: Path) -> list[str]:
    """The files that the index names, all of them in its own folder."""
    weight_map = _read_json(folder / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ValueError(f"{folder / INDEX} must have weight_map, an object from names of tensors to files")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or shard in ("", ".", "..") or set(shard) & set("/\\\0"):
            raise ValueError(
                f"{folder / INDEX} must name files of its own folder alone, but {name:.80} lies in {shard!r:.80}"
            )
        if not os.path.isfile(folder / shard):
            raise ValueError(
                f"{folder} lacks the shard {shard}, which holds {name:.80} among others, as {INDEX} says; "
                "download it again"
            )
    return sorted(set(weight_map.values()))


def _check_names(files: Mapping[str, Any], folder: Path, config: Config) -> None:
    # As many layers as tensors are too many to list.
    most = min(config.num_layers, len(files) + 1)
    leaves, _ = _shapes(dataclasses.replace(config, num_layers=most))
    expected = {name for path, leaf in leaves for name in _names(path, leaf.shape)}
    # Some files hold what follows from other tensors: a tied output matrix, and rotary frequencies.
    ignored = lambda name: name.endswith("rotary_emb.inv_freq") or (name == "lm_head.weight" and config.tie_embeddings)
    for what, names in (
        ("lacks", expected - set(files)),
        ("has unexpected", {name for name in files if not ignored(name)} - expected),
    ):
        if names:
            listed = ", ".join(f"{name:.80}" for name in sorted(names)[:3])
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ValueError(f"{folder} {what} tensors for what its {CONFIG} describes: {listed}{more}")


def _check_tensors(files: Mapping[str, Any], path, leaf: jax.ShapeDtypeStruct) -> None:
    """Shapes and kinds of a parameter's tensors, as the files' headers say them."""
    shape = leaf.shape[path[0].key == "layers" :]
    on_disk = shape[::-1] if _transposed(path) else shape
    for name in _names(path, leaf.shape):
        file, opened = files[name]
        found = opened.get_slice(name)
        if tuple(found.get_shape()) != on_disk:
            raise ValueError(
                f"{name} has the shape {tuple(found.get_shape())}, but {CONFIG} asks for {on_disk}; it lies in {file}"
            )
        if (kind := found.get_dtype()) not in _FLOATING:
            raise ValueError(
                f"{name} has dtype {kind}; weights must be floating-point, not quantized: one of "
                f"{', '.join(_FLOATING)}; it lies in {file}"
            )


def _read(files: Mapping[str, Any], path, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    """A parameter, read tensor by tensor."""
    stacked, names = path[0].key == "layers", list(_names(path, leaf.shape))
    array = np.empty((len(names), *leaf.shape[stacked:]), leaf.dtype)
    for row, name in zip(array, names, strict=True):
        file, opened = files[name]
        tensor = opened.get_tensor(name)
        with np.errstate(over="ignore"):
            row[...] = tensor.T if _transposed(path) else tensor
        if not np.isfinite(row).all():
            raise ValueError(f"{name} in {file} has numbers that are NaN or infinite")
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
    leaves, structure = _shapes(config)
    expected, given = shapes(jax.tree.unflatten(structure, [leaf for _, leaf in leaves])), shapes(params)
    for name in sorted(expected.keys() | given.keys()):
        if expected.get(name) != given.get(name):
            raise ValueError(
                f"params must be those of config: {name} is {given.get(name)}, but config says {expected.get(name)}"
            )


def _copy_companions(source, folder):
    for pattern in _COMPANIONS:
        for file in source.glob(pattern):
            copy = folder / file.relative_to(source)
            if file.is_file() and not copy.exists():
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(file, copy)


def _read_json(file: Path) -> dict[str, Any]:
    # `Path.is_file` raises where a path cannot be looked at.
    if not os.path.isfile(file):
        raise ValueError(f"no {file.name} in {file.parent}: path must be a folder of a model")
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{file} must be JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} must be a JSON object, got {content!r:.80}")
    return content


def _write_json(file, content):
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
