"""The structure of a Transformer."""

import dataclasses
import math
from typing import NamedTuple

from rlx.types import check_choice

DTYPES = ("float32", "bfloat16", "float64")


class RopeScaling(NamedTuple):
    """How Llama 3 stretches the slow rotary frequencies to contexts longer than those of the first training.

    factor: by how much frequencies of long wavelengths are divided.
    low_freq_factor: wavelengths above original_max_position_embeddings / low_freq_factor are stretched in full.
    high_freq_factor: wavelengths below original_max_position_embeddings / high_freq_factor stay as they are.
    original_max_position_embeddings: length of the contexts of the first training.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int


@dataclasses.dataclass(frozen=True)
class Config:
    """Structure of a Transformer: hashable, and static under `jax.jit`.

    Attributes:
        vocab_size: number of tokens V.
        hidden_size: width D of the residual stream.
        intermediate_size: width F of the gated layer.
        num_layers: number of layers L.
        num_heads: query heads H.
        num_key_value_heads: heads of keys and values, each shared by H / num_key_value_heads query heads.
        head_dim: width of a head, even.
        rope_theta: base of the rotary wavelengths.
        rope_scaling: Llama 3's stretching of them, or None.
        rms_norm_eps: added to the mean square before the root.
        tie_embeddings: the output matrix is the transpose of the embedding.
        attention_bias: queries, keys and values have biases (Qwen2).
        attention_output_bias: so has the output of attention (with attention_bias: Llama's attention_bias).
        mlp_bias: so have the three matrices of the gated layer.
        qk_norm: RMSNorm over each head of queries and keys, before the rotation (Qwen3).
        max_position_embeddings: longest context of the training; kept for the files of a model, not enforced.
        dtype: "float32", "bfloat16" or "float64" of parameters at initialization and of all matrix products; parameters
            of another dtype are cast, so that float32 masters can be trained with bfloat16 products.
    """

    vocab_size: int
    hidden_size: int = 128
    intermediate_size: int = 512
    num_layers: int = 2
    num_heads: int = 4
    num_key_value_heads: int = 4
    head_dim: int = 32
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    rms_norm_eps: float = 1e-6
    tie_embeddings: bool = True
    attention_bias: bool = False
    attention_output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    max_position_embeddings: int = 4096
    dtype: str = "float32"

    def __post_init__(self):
        check_choice("dtype", self.dtype, DTYPES)
        for name in (
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_layers",
            "num_heads",
            "head_dim",
            "max_position_embeddings",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("rope_theta", "rms_norm_eps"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a positive, finite number, got {getattr(self, name)}")
        scaling = self.rope_scaling
        if scaling is not None and not scaling.low_freq_factor < scaling.high_freq_factor:
            raise ValueError(f"high_freq_factor of rope_scaling must be above low_freq_factor, got {scaling}")
        if self.num_key_value_heads < 1 or self.num_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_key_value_heads must divide num_heads={self.num_heads}, got {self.num_key_value_heads}"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim must be even, since rotary positions turn pairs; got {self.head_dim}")

    @property
    def num_parameters(self) -> int:
        """Numbers that a model has, all layers together."""
        width, inner = self.hidden_size, self.intermediate_size
        heads, shared = self.num_heads * self.head_dim, self.num_key_value_heads * self.head_dim
        attention = width * (heads + 2 * shared) + heads * width
        biases = self.attention_bias * (heads + 2 * shared) + self.attention_output_bias * width
        mlp = 3 * width * inner + self.mlp_bias * (2 * inner + width)
        norms = 2 * width + self.qk_norm * 2 * self.head_dim
        embeddings = (1 if self.tie_embeddings else 2) * self.vocab_size * width
        return embeddings + self.num_layers * (attention + biases + mlp + norms) + width

    @property
    def bytes_per_parameter(self) -> int:
        """Bytes of one of them."""
        return {"float32": 4, "bfloat16": 2, "float64": 8}[self.dtype]
