"""A language model as small as can be, and what it is asked: to sort three symbols of four."""

from rlx.envs import language
from rlx.policies import transformer

TASK = language.make("sorting", length=3, symbols=4)
CONFIG = transformer.Config(
    vocab_size=len(TASK.vocabulary),
    hidden_size=16,
    intermediate_size=32,
    num_layers=1,
    num_heads=2,
    num_key_value_heads=1,
    head_dim=8,
)
