"""A language model as small as can be, and texts in words for it: sums of small numbers."""

from tokenizers import Tokenizer, models, pre_tokenizers

from rlx.policies import transformer

WORDS = ["<pad>", "<end>", "<stop>", "+", "=", "####", *map(str, range(10)), "more", "less", "spare"]
PAIRS = [(f"{a} + {b} =", f"#### {a + b}") for a in range(5) for b in range(5)]
CONFIG = transformer.Config(
    vocab_size=len(WORDS),
    hidden_size=8,
    intermediate_size=8,
    num_layers=1,
    num_heads=1,
    num_key_value_heads=1,
    head_dim=8,
)


def tokenizer() -> Tokenizer:
    """Each word is a token."""
    found = Tokenizer(models.WordLevel({word: token for token, word in enumerate(WORDS)}, unk_token="<pad>"))
    found.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    found.add_special_tokens(["<pad>", "<end>", "<stop>"])
    return found
