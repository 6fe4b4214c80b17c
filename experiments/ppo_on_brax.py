"""PPO on a Brax environment: eight seeds in one compiled program, then the learned policy by itself.

python -m experiments.ppo_on_brax
"""

import jax
import numpy as np

import rlx
from rlx.training.statistics import aggregate

NUM_SEEDS = 8


def main(env: str = "brax:inverted_pendulum", num_seeds: int = NUM_SEEDS, **settings) -> np.ndarray:
    """Train, and print what the seeds reached.

    Args:
        env: environment; its preset fills in what is not given.
        num_seeds: how many.
        **settings: fields of PPO's config, or parts of it: see `rlx train ppo --help`.

    Returns:
        Return of training episodes, `[seed, update]`.
    """
    train = rlx.make_train("ppo", env=env, **settings)
    keys = jax.random.split(jax.random.key(0), num_seeds)
    state, metrics = jax.jit(jax.vmap(train))(keys)

    returns = np.asarray(metrics["return_mean"])
    final = aggregate(returns[:, -1])
    low, high = final["interval"]
    print(f"{env}: return {final['interquartile_mean']:.0f} (95 % interval {low:.0f} to {high:.0f}), {num_seeds} seeds")

    # Every leaf of the state has the axis of seeds in front.
    sizes = jax.tree.map(lambda x: x.shape, state.params["policy"])
    print("parameters of all policies:", sizes)
    return returns


if __name__ == "__main__":
    main()
