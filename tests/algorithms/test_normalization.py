"""Learners on running normalization: what they act on, learn from and take in."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from rlx.algorithms import Learner, Transition, with_running_normalization


def make_batch(rng, *shape):
    observation, next_observation = (
        {"far": rng.normal(300, 5, (*shape, 3)), "near": rng.normal(0, 0.1, shape)} for _ in range(2)
    )
    zeros = np.zeros(shape)
    batch = Transition(observation, zeros[..., None], zeros, zeros > 0, zeros > 0, next_observation, {})
    return jax.tree.map(jnp.asarray, batch)


class Seen(NamedTuple):
    params: PyTree
    count: jax.Array


SPY = Learner(
    init=lambda key, example: Seen(example.observation, jnp.zeros(())),
    act=lambda state, observation, key: (observation, {}),
    mode=lambda state, observation: observation["far"],
    update=lambda state, batch, key: (state._replace(params=batch), {}),
    minibatches=3,
    observe=lambda state, transitions: state._replace(count=state.count + transitions.reward.size),
)


def test_observations_are_in_units_of_all_that_was_observed(rng):
    learner = with_running_normalization(SPY)
    first, second = make_batch(rng, 4, 5), make_batch(rng, 7, 2)
    key = jax.random.key(0)
    state = learner.init(key, jax.tree.map(lambda x: x[0], first))
    assert learner.minibatches == 3 and state.params is state.learner.params
    # Before anything is known, observations are only clipped.
    before, _ = learner.act(state, first.observation, key)
    np.testing.assert_allclose(before["near"], first.observation["near"], rtol=1e-6)
    assert (before["far"] == 10).all()

    observe = jax.jit(learner.observe)
    state = observe(observe(state, first), second)
    assert state.learner.count == 20 + 14
    seen = {
        name: np.concatenate(
            [np.asarray(b.observation[name], np.float64).reshape(-1, *x.shape[2:]) for b in (first, second)]
        )
        for name, x in first.observation.items()
    }
    expected = lambda observation: {
        name: (np.asarray(observation[name], np.float64) - x.mean(0)) / x.std(0) for name, x in seen.items()
    }
    assert_close = lambda ours, theirs: jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), ours, theirs
    )
    third = make_batch(rng, 6)
    assert_close(learner.mode(state, third.observation), expected(third.observation)["far"])
    assert_close(learner.act(state, third.observation, key)[0], expected(third.observation))
    updated, _ = learner.update(state, third, key)
    assert_close(updated.params.observation, expected(third.observation))
    assert_close(updated.params.next_observation, expected(third.next_observation))
    np.testing.assert_array_equal(updated.params.reward, third.reward)
    # Learning takes nothing in: a transition may be drawn often.
    jax.tree.map(np.testing.assert_array_equal, updated.observation_moments, state.observation_moments)
