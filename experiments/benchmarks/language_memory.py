"""Memory of a gradient step of GRPO on a model of the size of Qwen2.5-0.5B, as the compiler plans it.

Nothing is computed: an update is compiled for the shapes of a batch, and XLA's analysis tells the bytes of its
temporaries, that is of what is neither argument nor result. Weights, gradients' accumulators and AdamW's moments are in
float32, and so are the products, unless `--dtype bfloat16`; layers are recomputed in the backward pass.

- Microbatches: the same update, all responses of a minibatch at once or some at a time (`--microbatch-size` of `rlx
  train grpo`).
- Lengths: with microbatches, for responses of growing length.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.benchmarks import timing, tokens
from rlx.algorithms import grpo
from rlx.algorithms.responses import Responses
from rlx.policies import transformer

TINY = transformer.Config(
    vocab_size=32, hidden_size=16, intermediate_size=16, num_layers=5, num_heads=2, num_key_value_heads=1
)
PROMPTS, GROUP, MINIBATCHES = 16, 8, 4
PROMPT_LENGTH = 256
MICROBATCHES, LENGTH = (None, 16, 8, 4, 2), 2048
LENGTHS, MICROBATCH = (512, 1024, 2048, 4096), 8


def shapes(length: int, prompt_length: int) -> Responses:
    """A batch of responses that the policy in training sampled."""
    array = lambda *shape, dtype=jnp.int32: jax.ShapeDtypeStruct((PROMPTS, GROUP, *shape), dtype)
    return Responses(
        prompt=array(prompt_length),
        prompt_where=array(prompt_length, dtype=bool),
        token=array(length),
        present=array(length, dtype=bool),
        where=array(length, dtype=bool),
        reward=array(dtype=jnp.float32),
        correct=array(dtype=bool),
        answer=array(),
        first_error=array(),
        step=array(length),
    )


def measure(
    config: transformer.Config, length: int, microbatch_size: int | None, prompt_length: int = PROMPT_LENGTH
) -> dict[str, Any]:
    """Bytes of an update."""
    masters = dataclasses.replace(config, dtype="float32")
    learner = grpo.learner(
        config,
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-6)),
        params=functools.partial(transformer.init, config=masters),
        model=lambda params: optax.tree.cast(params, config.dtype),
        minibatches=MINIBATCHES,
        remat=True,
        microbatch_size=microbatch_size,
    )
    batch, key = shapes(length, prompt_length), jax.random.key(0)
    state = jax.eval_shape(learner.init, key, batch)
    begun = time.perf_counter()
    compiled = jax.jit(learner.update, donate_argnums=0).lower(state, batch, key).compile()
    memory = compiled.memory_analysis()
    return {
        "microbatch_size": microbatch_size,
        "length": length,
        "temporary_bytes": memory.temp_size_in_bytes,
        "argument_bytes": memory.argument_size_in_bytes,
        "seconds_to_compile": time.perf_counter() - begun,
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print and save; returns the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the matrix products")
    parser.add_argument("--quick", action="store_true", help="a tiny size that shows that it runs; writes nothing")
    options = parser.parse_args(argv)
    config = dataclasses.replace(TINY if options.quick else tokens.qwen().model, dtype=options.dtype)
    cases = [(LENGTH, size) for size in MICROBATCHES] + [(n, MICROBATCH) for n in LENGTHS if n != LENGTH]
    if options.quick:
        rows = [measure(config, 8, size, prompt_length=4) for size in (None, 2)]
    else:
        rows = [measure(config, length, size) for length, size in cases]
    timing.show(
        f"Temporaries of an update of {PROMPTS * GROUP} responses in {MINIBATCHES} minibatches",
        ("responses at a time", "tokens of a response", "temporaries, GiB", "state and batch, GiB"),
        [
            (
                str(row["microbatch_size"] or PROMPTS * GROUP // MINIBATCHES),
                f"{row['length']:,}",
                f"{row['temporary_bytes'] / 2**30:.2f}",
                f"{row['argument_bytes'] / 2**30:.2f}",
            )
            for row in rows
        ],
    )
    settings = dict(prompts=PROMPTS, group=GROUP, minibatches=MINIBATCHES, prompt_length=PROMPT_LENGTH)
    record = {"settings": settings | dataclasses.asdict(config), "results": rows}
    if not options.quick:
        print(f"written: {timing.save('language_memory', record).name}")
    return record


if __name__ == "__main__":
    main()
