"""Makes the golden models of this folder: `python golden/make.py`, in an environment of its own.

Made with Python 3.11, torch 2.15.0 (on a CPU), transformers 4.57.1, tokenizers 0.22.2, safetensors 0.8.0 and numpy
2.4.6. The tests need neither torch nor transformers.

Every folder holds what transformers wrote (config.json and weights, of which some are in shards) and golden.npz:

    tokens, where         left-padded prompts of different lengths [3, 10], True where a token is real
    logits                of the prompts [3, 10, vocabulary], float32
    greedy                greedy continuations [3, 12]
    stop, greedy_stopped  the same with a stop token, filled up with token 0 behind it
"""

from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

HERE = Path(__file__).parent
VOCABULARY, LENGTHS, NEW_TOKENS = 64, (10, 7, 3), 12
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}
# The wavelengths 6.3, 19.9, 62.8 and 199 fall on all three sides of llama3's two thresholds, 8 and 32.
LLAMA3 = {
    "rope_theta": 100.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
}
MODELS = {
    "qwen2": (transformers.Qwen2Config(**SHAPE, tie_word_embeddings=True, rope_theta=1e6), torch.bfloat16),
    "qwen3": (transformers.Qwen3Config(**SHAPE, head_dim=16, tie_word_embeddings=False), torch.bfloat16),
    "llama": (transformers.LlamaConfig(**SHAPE, **LLAMA3, tie_word_embeddings=False), torch.float32),
    "llama_biased": (transformers.LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True), torch.bfloat16),
}


@torch.no_grad()
def make(name: str, config: transformers.PretrainedConfig, dtype: torch.dtype, seed: int = 0) -> None:
    torch.manual_seed(seed)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for path, weight in model.named_parameters():
        # As initialized, biases are 0, norms are 1 and all next tokens are nearly as probable. Only weights are rounded
        # to what is saved: model.to(dtype) would round the frequencies of the rotary positions as well.
        weight.copy_(weight.normal_(float("norm" in path), 0.3).to(dtype))

    tokens = torch.randint(1, VOCABULARY, (len(LENGTHS), max(LENGTHS)))
    where = torch.arange(max(LENGTHS)) >= max(LENGTHS) - torch.tensor(LENGTHS)[:, None]
    tokens = torch.where(where, tokens, 0)
    prompt = {"input_ids": tokens, "attention_mask": where.long()}

    def greedy(**options):
        output = model.generate(
            **prompt,
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            output_logits=True,
            return_dict_in_generate=True,
            **options,
        )
        return output.sequences[:, max(LENGTHS) :], torch.stack(output.logits)

    logits = model(**prompt, position_ids=(where.cumsum(-1) - 1).clamp(min=0)).logits
    free, steps = greedy()
    best = steps.topk(2).values
    if (best[..., 0] - best[..., 1]).min() < 1e-2:  # rounding could choose otherwise
        return make(name, config, dtype, seed + 1)
    stop = free[0, 4]
    stopped = greedy(eos_token_id=stop.item())[0]

    model.to(dtype).save_pretrained(HERE / name, max_shard_size="40KB")
    (HERE / name / "generation_config.json").unlink()
    np.savez_compressed(
        HERE / name / "golden.npz",
        tokens=tokens.int(),
        where=where,
        logits=logits,
        greedy=free.int(),
        stop=stop.int(),
        greedy_stopped=stopped.int(),
    )


def make_tokenizer() -> None:
    words = ["<pad>", *"0123456789", "+", "=", "sum"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(HERE / "qwen2" / "tokenizer.json"))


if __name__ == "__main__":
    for name, (config, dtype) in MODELS.items():
        make(name, config, dtype)
    make_tokenizer()
