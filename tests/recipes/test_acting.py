"""What recipes of acting learners have in common."""

import jax
import numpy as np
import pytest

from rlx import recipes
from rlx.recipes.wiring import make_program

TINY = dict(env="rlx:pendulum", max_episode_steps=9, eval_episodes=2, hidden_sizes=(4,), num_envs=8)
REPLAY = dict(warmup_steps=0, buffer_size=64, batch_size=4)
OPTIONS = {
    "ppo": dict(num_minibatches=2),
    "td3": dict(updates_per_step=2, **REPLAY),
    "dqn": dict(updates_per_step=1, n_step=1, **REPLAY | {"env": "gymnax:CartPole-v1"}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_random_phase_is_of_training_alone(name):
    """Environments begin anywhere in their episodes, evaluations do not; without it nothing changes."""

    def started(**options):
        config = recipes.recipe(name).configure(**TINY | OPTIONS[name], **options)
        program = make_program(recipes.recipe(name), config)
        return program, jax.jit(program.init)(jax.random.key(0))

    (program, state), (_, plain) = started(random_phase=True), started()
    acting = lambda state: state.source if name == "ppo" else state.source.acting
    elapsed = np.asarray(acting(state).environment.elapsed)
    assert elapsed.min() >= 0 and elapsed.max() < 9 and len(np.unique(elapsed)) > 3
    np.testing.assert_array_equal(acting(plain).environment.elapsed, 0)
    jax.tree.map(np.testing.assert_array_equal, acting(state).observation, acting(plain).observation)
    jax.tree.map(np.testing.assert_array_equal, state.learner.params, plain.learner.params)
    if name == "ppo":
        evaluation = jax.jit(program.evaluate)(state, jax.random.key(1))
        assert evaluation["eval_episode_length"] == 9


def test_a_random_phase_without_a_time_limit_is_refused():
    from rlx import envs
    from rlx.envs.episodes import EpisodicEnvironment

    endless = EpisodicEnvironment(envs.make("rlx:pendulum").task, None)
    config = recipes.recipe("ppo").configure(random_phase=True, **TINY, max_eval_steps=5)
    with pytest.raises(ValueError, match="random_phase needs a time limit, and rlx:pendulum has none"):
        make_program(recipes.recipe("ppo"), config, environment=endless)
