import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.regularizers.behavior import action_distance, dataset_constraint

QUERY = jnp.array([[0.1, 0.1], [0.9, 0.2]]), jnp.array([[0.6], [0.4]])
DATA = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), jnp.array([[0.5], [-0.5], [0.9]])


def test_oracles() -> None:
    np.testing.assert_allclose(dataset_constraint(*QUERY, *DATA), [0.01, 0.81], rtol=1e-5)
    np.testing.assert_allclose(dataset_constraint(*QUERY, *DATA, k=2), [0.09, 0.01], rtol=1e-5)


@pytest.mark.parametrize("k, chunk", [(1, None), (3, None), (3, 4)])
def test_equals_a_loop_and_finite_differences(rng, float64, check_gradient, k, chunk) -> None:
    observation, action = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    states, actions = rng.normal(size=(11, 3)), rng.normal(size=(11, 2))
    expected, slopes = np.zeros(6), np.zeros((6, 2))
    for i in range(5):  # The last is masked.
        distances = [
            np.sqrt(1.5**2 * sum((observation[i] - states[j]) ** 2) + sum((action[i] - actions[j]) ** 2))
            for j in range(11)
        ]
        neighbor = actions[sorted(range(11), key=distances.__getitem__)[k - 1]]
        expected[i], slopes[i] = np.mean((action[i] - neighbor) ** 2), action[i] - neighbor  # 2 / |A| is 1.
    arrays = [jnp.asarray(x) for x in (observation, action, states, actions)]
    options = {"beta": 1.5, "k": k, "chunk": chunk, "where": jnp.arange(6) < 5}
    function = jax.jit(lambda a: dataset_constraint(arrays[0], a, *arrays[2:], **options))
    np.testing.assert_allclose(function(arrays[1]), expected, rtol=1e-10)
    np.testing.assert_allclose(jax.grad(lambda a: function(a).sum())(arrays[1]), slopes, rtol=1e-10)
    check_gradient(function, arrays[1])


def test_order_and_repetition_of_the_data_change_nothing(rng) -> None:
    arrays = [jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((5, 2), (5, 3), (9, 2), (9, 3))]
    query, data, order = arrays[:2], arrays[2:], rng.permutation(9)
    expected = dataset_constraint(*query, *data)
    np.testing.assert_allclose(dataset_constraint(*query, *(x[order] for x in data)), expected)
    twice = (jnp.concatenate([x, x, x[:4]]) for x in data)
    np.testing.assert_allclose(dataset_constraint(*query, *twice, chunk=5), expected)


def test_limits_of_beta(rng, float64) -> None:
    observation, action = jnp.asarray(rng.normal(size=(9, 2))), jnp.asarray(rng.normal(size=(9, 3)))
    data_action = jnp.asarray(rng.normal(size=(9, 3)))
    assert not dataset_constraint(observation, data_action, observation, data_action).any()
    same_state = dataset_constraint(observation, action, observation, data_action, beta=1e6)
    np.testing.assert_allclose(same_state, action_distance(action, data_action))
    nearest = np.min([np.mean((np.asarray(action) - a) ** 2, -1) for a in np.asarray(data_action)], 0)
    anywhere = dataset_constraint(observation, action, observation, data_action, beta=0.0)
    np.testing.assert_allclose(anywhere, nearest, rtol=1e-10)
