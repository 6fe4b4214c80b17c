"""`config.json` of Hugging Face's folders, to and from `Config`: which of its entries mean what, and which are refused.

Entries that change what a model computes and are not supported raise an error; a model is never read as nearly itself.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlx.policies.transformer.config import DTYPES, Config, RopeScaling

ARCHITECTURES = {"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM", "llama": "LlamaForCausalLM"}
"""By `model_type`."""

_SAME_NAME = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "rms_norm_eps",
    "max_position_embeddings",
    "num_key_value_heads",
    "head_dim",
)
_RENAMED = {
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "tie_embeddings": "tie_word_embeddings",
}
# What transformers takes where config.json says nothing.
_DEFAULTS = {
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
    "rope_theta": 10_000.0,
}
_ROTARY = ("rope_theta", "rope_scaling", "rope_parameters")
_KINDS = {
    **{_RENAMED.get(field.name, field.name): field.type for field in dataclasses.fields(Config)},
    **RopeScaling.__annotations__,
    "max_window_layers": int,
    "layer_types": list,
    "rope_parameters": dict,
    "rope_scaling": dict,
}
_RIGHT = {
    int: "a whole number of at least 1",
    float: "a positive, finite number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


def from_hf(description: Mapping[str, Any], file: Path, dtype: str | None = None) -> Config:
    """The configuration that a `config.json` describes.

    Args:
        description: its entries.
        file: where it was read, for errors.
        dtype: in place of the one that it names.

    Returns:
        The configuration.

    Raises:
        ValueError: for an architecture or option that is not supported, or an entry that is missing, of another type
            or out of range.
    """

    def refuse(name: str, supported: str):
        raise ValueError(f"{file} has {name}={description.get(name)!r:.80}, which is not supported; {supported}")

    kind = description.get("model_type")
    if kind not in list(ARCHITECTURES):
        refuse("model_type", f"dense models of {', '.join(ARCHITECTURES)} are")
    if description.get("architectures") not in (None, [ARCHITECTURES[kind]]):
        refuse("architectures", f"of {kind}, {ARCHITECTURES[kind]} is")
    if description.get("hidden_act", "silu") != "silu":
        refuse("hidden_act", "'silu' is")
    if description.get("quantization_config") is not None:
        refuse("quantization_config", "weights must be floating-point")
    if description.get("partial_rotary_factor", 1) != 1:
        refuse("partial_rotary_factor", "all of a head must be rotated")

    def entry(name: str):
        value = _checked(description, name, file)
        value = implied(name) if value is None else value
        if value is None:
            raise ValueError(f"{file} lacks {name}, which a model of type {kind} needs")
        return value

    def implied(name: str):
        if name == "num_key_value_heads":
            return entry("num_attention_heads")
        if name == "head_dim":
            return 128 if kind == "qwen3" else entry("hidden_size") // entry("num_attention_heads")
        return _DEFAULTS.get(name)

    # Qwen2 has biases whatever an entry says, Qwen3 and Llama in all four matrices or in none.
    bias = kind != "qwen2" and entry("attention_bias")
    values = dict(
        **{name: entry(name) for name in _SAME_NAME},
        **{ours: entry(theirs) for ours, theirs in _RENAMED.items()},
        **_rotary(description, file),
        attention_bias=kind == "qwen2" or bias,
        attention_output_bias=bias,
        mlp_bias=kind == "llama" and entry("mlp_bias"),
        qk_norm=kind == "qwen3",
        dtype=dtype or _dtype(description, file),
    )
    if _slides(description, values["num_layers"], file):
        refuse("sliding_window", "all layers must attend to all tokens before, as with use_sliding_window=false")
    try:
        return Config(**values)
    except ValueError as error:
        raise ValueError(f"{file} describes no model: {error}") from error


def _checked(description: Mapping[str, Any], name: str, file: Path) -> Any:
    """An entry of the kind that it must be; None where there is none."""
    value, kind = description.get(name), _KINDS[name]
    if value is None:
        return None
    is_number = isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
    if not (is_number and 0 < value <= sys.float_info.max if kind in (int, float) else isinstance(value, kind)):
        raise ValueError(f"{file} has {name}={value!r:.80}, which must be {_RIGHT[kind]}")
    return float(value) if kind is float else value


def to_hf(config: Config, dtype: str, original: Mapping[str, Any]) -> dict[str, Any]:
    """The `config.json` of a configuration.

    Args:
        config: the configuration.
        dtype: of the tensors.
        original: entries of the config.json that the model came from: those that `Config` has no word for are kept.

    Returns:
        Its entries.

    Raises:
        ValueError: if none of the architectures has the configuration's features.
    """
    kind = _kind(config)
    kept = {}
    if original.get("model_type") == kind:
        kept = {name: value for name, value in original.items() if name not in (*_ROTARY, "torch_dtype", "dtype")}
    scaling = config.rope_scaling
    biases = {"attention_bias": config.attention_output_bias}
    return (
        # Without an end of its own a model would get one from transformers: Llama's is token 2.
        {"hidden_act": "silu", "use_cache": True, "bos_token_id": None, "eos_token_id": None}
        | kept
        | {name: getattr(config, name) for name in _SAME_NAME}
        | {theirs: getattr(config, ours) for ours, theirs in _RENAMED.items()}
        | {"qwen2": {}, "qwen3": biases, "llama": biases | {"mlp_bias": config.mlp_bias}}[kind]
        | {
            "architectures": [ARCHITECTURES[kind]],
            "model_type": kind,
            "rope_theta": config.rope_theta,
            "rope_scaling": None if scaling is None else {"rope_type": "llama3"} | scaling._asdict(),
            "torch_dtype": dtype,
        }
    )


def _kind(config: Config) -> str:
    """Which architecture has the features of a configuration."""
    features = ("qk_norm", "attention_bias", "attention_output_bias", "mlp_bias")
    match tuple(bool(getattr(config, name)) for name in features):
        case (True, bias, output_bias, False) if bias == output_bias:
            return "qwen3"
        case (False, True, False, False):
            return "qwen2"
        case (False, bias, output_bias, _) if bias == output_bias:
            return "llama"
    listed = ", ".join(f"{name}={getattr(config, name)}" for name in features)
    raise ValueError(
        f"no architecture of {', '.join(ARCHITECTURES)} has {listed}: query, key and value alone have biases (qwen2), "
        "or these and the output (qwen3, llama); those of the MLP are llama's"
    )


def _slides(description, num_layers, file) -> bool:
    if (kinds := _checked(description, "layer_types", file)) is not None:
        return any(kind != "full_attention" for kind in kinds)
    if not description.get("use_sliding_window", False) or description.get("sliding_window", 4096) is None:
        return False
    # In Qwen2's own words: the first so many layers have no window; 0 says that all have one.
    first = description.get("max_window_layers")
    return first == 0 or (_checked(description, "max_window_layers", file) or 28) < num_layers


def _rotary(description, file) -> dict[str, Any]:
    """`rope_theta` and `rope_scaling`; since transformers 5 both are in `rope_parameters`."""
    parameters = _checked(description, "rope_parameters", file) or _checked(description, "rope_scaling", file) or {}
    theta = _checked(parameters, "rope_theta", file) or _checked(description, "rope_theta", file)
    theta = theta or _DEFAULTS["rope_theta"]
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind == "default":
        return {"rope_theta": theta, "rope_scaling": None}
    if kind != "llama3":
        raise ValueError(
            f"{file} has rotary positions of rope_type={kind!r:.80}, not supported; 'default' and 'llama3' are"
        )
    if missing := [name for name in RopeScaling._fields if parameters.get(name) is None]:
        needed = ", ".join(RopeScaling._fields)
        raise ValueError(f"{file} lacks {missing[0]} of rope_type 'llama3', which needs {needed}")
    return {
        "rope_theta": theta,
        "rope_scaling": RopeScaling(**{name: _checked(parameters, name, file) for name in RopeScaling._fields}),
    }


def _dtype(description, file) -> str:
    dtype = description.get("dtype") or description.get("torch_dtype") or "float32"
    if dtype not in DTYPES:
        raise ValueError(f"{file} has dtype={dtype!r:.80}; load with dtype='float32' or 'bfloat16'")
    return dtype
