"""A sweep in one program: learning rates × clip ranges × seeds. Half of the seeds choose, the others judge.

python -m experiments.sweep
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

import rlx
from rlx.training.statistics import aggregate


def main(
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3), clips: tuple[float, ...] = (0.1, 0.2), num_seeds: int = 8, **settings
) -> np.ndarray:
    """Train every setting with every seed, and print the best.

    Args:
        rates: learning rates.
        clips: clip ranges.
        num_seeds: seeds of each setting; half of them choose, half of them judge.
        **settings: fields of PPO's config that all settings share.

    Returns:
        Final return of training episodes, `[setting, seed]`.
    """

    def run(rate, clip, key):
        # Numbers that may be swept may be traced: `rlx train ppo --help` and `--sweep` name them.
        train = rlx.make_train("ppo", env="rlx:pendulum", learning_rate=rate, clip=clip, **settings)
        return train(key)[1]["return_mean"][-1]

    grid = np.array(list(itertools.product(rates, clips)))
    keys = jax.random.split(jax.random.key(0), num_seeds)
    over_seeds = jax.vmap(run, in_axes=(None, None, 0))
    over_settings = jax.vmap(over_seeds, in_axes=(0, 0, None))
    returns = np.asarray(jax.jit(over_settings)(jnp.array(grid[:, 0]), jnp.array(grid[:, 1]), keys))

    half = max(1, num_seeds // 2)
    best = int(np.argmax(returns[:, :half].mean(axis=1)))
    judged = aggregate(returns[best, half:] if num_seeds > 1 else returns[best])
    rate, clip = grid[best]
    print(f"best of {len(grid)} settings: rate {rate:g}, clip {clip:g}: return {judged['interquartile_mean']:.0f}")
    return returns


if __name__ == "__main__":
    main()
