import jax.numpy as jnp
import numpy as np

from rlx.controllers import best_length
from rlx.rewards import history_length


def test_oracle() -> None:
    reward = history_length(
        jnp.array([50.0, 100, 150, 250, 50, 150, 250, 80]),
        jnp.array([100.0] * 7 + [jnp.inf]),
        jnp.array([True] * 4 + [False] * 3 + [True]),
    )
    np.testing.assert_allclose(reward, [0.707107, 0, -0.7, -0.7, 0, -0.707107, -1, 0], rtol=1e-5)
    assert reward[1] == 0  # and not the -4e-8 of a rounded cosine


def test_laws(rng, float64) -> None:
    length = jnp.sort(jnp.asarray(rng.uniform(0, 400, (2, 60))))
    history, correct = jnp.full((2, 60), 120.0), jnp.array([[True], [False]])
    reward = history_length(length, history, correct, floor=-0.4, coefficient=2.0)
    angle = np.minimum(np.pi / 2 * np.asarray(length) / 120, np.pi)
    expected = 2 * np.stack([np.maximum(np.cos(angle[0]), -0.4), np.minimum(np.cos(angle[1]), 0)])
    np.testing.assert_allclose(reward, expected, atol=1e-12)
    assert np.all(np.diff(reward, axis=-1) <= 1e-12)
    np.testing.assert_allclose(history_length(3 * length, 3 * history, correct, floor=-0.4), reward / 2, atol=1e-12)
    # Added to the reward of correctness, at the defaults, every correct response outranks every wrong one.
    total = history_length(length, history, correct) + correct
    assert total[0].min() > total[1].max()


def test_history_of_a_prompt_that_improves() -> None:
    init, update = best_length()
    state, prompt = init(jnp.full(2, jnp.inf)), jnp.array([0, 0])
    rewards = []
    for length in ([200.0, 120.0], [100.0, 150.0], [90.0, 80.0]):
        length = jnp.array(length)
        history, state = update(state, prompt, length, jnp.array([True, True]))
        rewards.append(history_length(length, history, jnp.array([True, True])))
    np.testing.assert_allclose(rewards[0], 0)  # nothing to compare with yet
    np.testing.assert_allclose(rewards[1], np.cos(np.pi / 2 * np.array([100 / 120, 150 / 120])), rtol=1e-5)
    np.testing.assert_allclose(rewards[2], np.cos(np.pi / 2 * np.array([0.9, 0.8])), rtol=1e-5)
    np.testing.assert_allclose(state.history, [80, jnp.inf])
