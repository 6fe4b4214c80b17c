"""Small programs with and without an environment for tests of the loops."""

import jax
import numpy as np
import optax

from rlx import data, policies
from rlx.algorithms import td3
from rlx.training import evaluation, sources
from rlx.training.program import make_program
from tests.training.toy import Toy


def make_learner(setting=None, **options):
    rate = (setting or {}).get("learning_rate", 1e-2)
    space = Toy.action_space
    return td3.learner(
        policies.deterministic(space, (8,)),
        policies.action_critic((8,)),
        optax.adam(rate),
        optax.adam(rate),
        **options,
    )


def make_replay(setting=None, **options):
    defaults = dict(
        num_envs=4,
        unroll_length=2,
        updates_per_step=4,
        batch_size=8,
        buffer_size=64,
        warmup_steps=16,
    )
    return replay_program(Toy(), make_learner(setting), **(defaults | options))


def replay_program(environment, learner, **options):
    source = sources.replay(environment, learner, **options)
    return make_program(source, learner, evaluation.episodes(environment, learner, num_episodes=2))


def make_dataset(rows=50):
    rng = np.random.default_rng(0)
    observation = rng.normal(size=(rows, 2))
    ends = np.arange(rows) % 5 == 4
    return data.make_dataset(
        observation, rng.uniform(-1, 1, (rows, 1)), rng.normal(size=rows), observation + 1, 0 * ends, ends
    )


def make_offline(setting=None, dataset=None, **options):
    dataset = make_dataset() if dataset is None else dataset
    return dataset_program(dataset, make_learner(setting), **(dict(batch_size=8, updates_per_step=4) | options))


def dataset_program(dataset, learner, **options):
    source = sources.dataset(dataset, learner, **options)
    return make_program(source, learner, evaluation.episodes(Toy(), learner, num_episodes=2))


def assert_same(ours, theirs, **tolerances):
    """Equal trees, bit for bit unless a tolerance is given."""

    def compare(a, b):
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        if tolerances:
            np.testing.assert_allclose(a, b, **tolerances)
        else:
            np.testing.assert_array_equal(a, b)

    jax.tree.map(compare, ours, theirs)
