"""Learning from a log, with a line of your own: TD3+BC that stays near the data's action only where it paid.

python -m experiments.offline_with_a_line_of_your_own
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlx import data, envs, policies
from rlx.algorithms import td3_bc, with_fixed_normalization
from rlx.recipes.datasets import collect
from rlx.regularizers.behavior import action_distance
from rlx.training import evaluation, sources
from rlx.training.interaction import uniform_actions
from rlx.training.program import make_program, make_train


def main(num_rows: int = 20_000, num_seeds: int = 4, gradient_steps: int = 5_000) -> dict[str, np.ndarray]:
    """Log a pendulum pushed at random and by a clumsy controller, learn from both, and print what the seeds reached.

    Args:
        num_rows: transitions of the log.
        num_seeds: how many seeds, side by side in one program.
        gradient_steps: of each.

    Returns:
        Return of deterministic episodes at the end, `[seed]`, of TD3+BC and of the variant.
    """
    environment = envs.make("rlx:pendulum")

    def clumsy(observation, key):
        """Pumps energy while hanging and balances while up, with much noise."""
        cosine, sine, speed = observation[:, 0], observation[:, 1], observation[:, 2]
        push = jnp.where(cosine > 0.8, -8 * sine - 2 * speed, 2 * jnp.sign(speed))
        return jnp.clip(push + jax.random.normal(key, push.shape), -2, 2)[:, None]

    acts = (uniform_actions(environment.action_space), clumsy)
    logs = [collect(environment, act, jax.random.key(i), num_rows // 2, num_envs=10) for i, act in enumerate(acts)]
    rows, mean, scale = data.normalize_observations(data.concatenate(logs))
    to_go = data.returns_to_go(rows, discount=0.99)
    paid = (to_go > jnp.median(to_go)).astype(float)

    # The line of one's own: a function of everything that the gradient step knows.
    near = lambda step: action_distance(step.action, step.batch.action)
    near_what_paid = lambda step: action_distance(
        step.action, step.batch.action, weight=2 * paid[step.batch.extras["index"]]
    )

    actor = policies.deterministic(environment.action_space, (128, 128))
    critic, adam = policies.action_critic((128, 128)), optax.adam(1e-3)

    def run(penalty, rows, key):
        learner = td3_bc.learner(actor, critic, adam, adam, low=-2.0, high=2.0, alpha=2.5, penalty=penalty)
        learner = with_fixed_normalization(learner, mean, scale)
        source = sources.dataset(rows, learner, batch_size=128, updates_per_step=gradient_steps)
        program = make_program(source, learner, evaluation.episodes(environment, learner, num_episodes=16))
        state, _ = make_train(program, 1)(key)
        return program.evaluate(state, key)["eval_return_mean"]

    keys, found = jax.random.split(jax.random.key(0), num_seeds), {}
    for name, penalty in {"TD3+BC": near, "near what paid": near_what_paid}.items():
        # The rows are an argument: an array that a compiled function closes over becomes a constant in it.
        seeds = jax.vmap(lambda rows, key: run(penalty, rows, key), in_axes=(None, 0))
        found[name] = np.asarray(jax.jit(seeds)(rows, keys))
        print(f"{name:15} returns of the seeds: {found[name].round().tolist()}")
    return found


if __name__ == "__main__":
    main()
