"""`rlx play` of a policy over tokens: what it is asked, what it writes, and what the verifier says."""

from __future__ import annotations

import jax
from jaxtyping import PyTree

from rlx.algorithms.grpo import Batch
from rlx.cli.records import Record
from rlx.training import sequences


def respond(record: Record, params: PyTree, key: jax.Array, *, num_prompts: int, stochastic: bool) -> list[str]:
    """Held-out prompts and a policy's responses to them, a line for each.

    Args:
        record: of the run.
        params: the policy's.
        key: where prompts and samples come from.
        num_prompts: how many.
        stochastic: sample at temperature 1, instead of the likeliest token each time.
    """
    task = record.module.make_environment(record.config)
    structure, _ = record.module.make_policy(record.config, task)

    @jax.jit
    def ask(params: PyTree, key: jax.Array) -> Batch:
        draw_key, sample_key = jax.random.split(key)
        problems = sequences.draw(draw_key, task, "test", num_prompts)
        temperature = 1.0 if stochastic else 0.0
        return sequences.rollout(sample_key, structure, params, task, problems, group_size=1, temperature=temperature)

    batch = jax.device_get(ask(params, key))
    return [
        f"  {'right' if batch.correct[i, 0] else 'wrong'}  "
        f"{task.decode(batch.prompt[i, 0][batch.prompt_where[i, 0]])}  →  "
        f"{task.decode(batch.token[i, 0][batch.present[i, 0]])}"
        for i in range(num_prompts)
    ]
