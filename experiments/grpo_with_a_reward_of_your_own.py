"""GRPO of a small language model with a reward of your own: right additions, and short ones among them.

python -m experiments.grpo_with_a_reward_of_your_own
"""

import jax
import numpy as np

import rlx
from rlx.algorithms.grpo import Method
from rlx.algorithms.responses import Responses


def reward(batch: Responses) -> jax.Array:
    """From groups of verified responses to one reward each, `[prompt, group]`: 1 where right, less for length."""
    room = batch.token.shape[-1]
    return batch.correct * (1.0 - 0.2 * batch.length / room)


def main(num_seeds: int = 2, **settings) -> np.ndarray:
    """Warm up on worked additions, go on with the reward, and print how many of the samples are right.

    Args:
        num_seeds: how many seeds, side by side in one program.
        **settings: fields of GRPO's config: see `rlx train grpo --help`.

    Returns:
        Share of sampled responses that are right, `[seed, update]`.
    """
    usual = dict(task="addition", warmup_steps=300, total_steps=8_192, learning_rate=1e-4)
    train = rlx.make_train("grpo", **usual | settings, method=Method(reward=reward))
    keys = jax.random.split(jax.random.key(0), num_seeds)
    _, metrics = jax.jit(jax.vmap(train))(keys)

    accuracy = np.asarray(metrics["accuracy"])
    first, last = accuracy[:, :5].mean(), accuracy[:, -5:].mean()
    print(f"right samples: {first:.0%} in the first updates, {last:.0%} in the last, {num_seeds} seeds")
    return accuracy


if __name__ == "__main__":
    main()
