"""SAC put together by hand: environment, networks, learner, replay, program. Nothing here is hidden in a recipe.

python -m experiments.sac_from_parts
"""

import jax
import numpy as np
import optax

from rlx import envs, policies
from rlx.algorithms import sac
from rlx.training import evaluation, sources
from rlx.training.program import make_program, make_train


def main(num_seeds: int = 4, num_updates: int = 250, hidden_sizes: tuple[int, ...] = (128, 128)) -> np.ndarray:
    """Train on the pendulum, and print what the seeds reached.

    Args:
        num_seeds: how many seeds, side by side in one program.
        num_updates: of 16 environment steps and 16 gradient steps each.
        hidden_sizes: of policy and critics.

    Returns:
        Return of deterministic episodes at the end, `[seed]`; about -150 is a pendulum that swings up at once.
    """
    environment = envs.make("rlx:pendulum")
    adam = optax.adam(1e-3)
    learner = sac.learner(
        policies.policy(environment.action_space, hidden_sizes, kind="tanh", activation="relu"),
        policies.action_critic(hidden_sizes, num=2),
        adam,  # of the policy
        adam,  # of the critics
        adam,  # of the temperature
        discount=0.99,
        target_entropy=-1.0,
    )
    source = sources.replay(
        environment, learner, num_envs=16, updates_per_step=16, batch_size=128, buffer_size=20_000, warmup_steps=1_000
    )
    program = make_program(source, learner, evaluation.episodes(environment, learner, num_episodes=16))

    def run(key):
        state, metrics = make_train(program, num_updates)(key)
        return program.evaluate(state, key)["eval_return_mean"]

    returns = np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), num_seeds)))
    print("returns of the seeds:", returns.round().tolist())
    return returns


if __name__ == "__main__":
    main()
