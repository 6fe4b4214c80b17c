"""Transformers as language models."""

from rlx.policies.transformer import lora, memory, partition
from rlx.policies.transformer.config import Config, RopeScaling
from rlx.policies.transformer.generation import (
    Generation,
    GenerationState,
    decode,
    generate,
    prefill,
    repeat,
    sampling_log_prob,
)
from rlx.policies.transformer.model import Cache, apply, hidden, init, init_cache, unembed, unstack
from rlx.policies.transformer.pretrained import load_pretrained, load_tokenizer, read_config, save_pretrained
from rlx.policies.transformer.refilling import generate_refilled
from rlx.policies.transformer.scoring import TokenStatistics, token_log_prob, token_statistics
