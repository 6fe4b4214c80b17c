import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.regularizers.behavior import action_distance, advantage_guided


def test_action_distance_oracle() -> None:
    arrays = jnp.array([[0.5, -0.2], [1.0, 0.0]]), jnp.array([[0.1, 0.2], [0.0, 0.0]])
    np.testing.assert_allclose(action_distance(*arrays), [0.16, 0.5], rtol=1e-6)
    np.testing.assert_allclose(action_distance(*arrays, reduce="sum"), [0.32, 1.0], rtol=1e-6)


@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_action_distance_equals_numpy_and_finite_differences(rng, float64, check_gradient, reduce) -> None:
    action, behavior = rng.normal(size=(2, 4, 3))
    weight, where = rng.uniform(size=4), np.array([True, False, True, True])
    factor = 1 / 3 if reduce == "mean" else 1
    expected = [
        where[i] * weight[i] * factor * sum((action[i, d] - behavior[i, d]) ** 2 for d in range(3)) for i in range(4)
    ]
    options = {"weight": jnp.asarray(weight), "where": jnp.asarray(where), "reduce": reduce}
    arrays = jnp.asarray(action), jnp.asarray(behavior)
    np.testing.assert_allclose(action_distance(*arrays, **options), expected, rtol=1e-12)
    check_gradient(lambda *x: action_distance(*x, **options), *arrays)


A2PR = {
    "action": jnp.array([[0.2, -0.4], [0.1, 0.3], [0.0, 0.0]]),
    "behavior_action": jnp.array([[0.5, 0.5], [-0.2, 0.1], [1.0, 1.0]]),
    "candidate_action": jnp.array([[0.3, -0.1], [0.4, 0.4], [-1.0, 1.0]]),
    "behavior_q": jnp.array([1.0, 2.0, 0.1]),
    "candidate_q": jnp.array([1.5, 1.8, 0.2]),
    "value": jnp.array([1.2, 1.9, 0.5]),
}


def test_advantage_guided_oracle() -> None:
    np.testing.assert_allclose(advantage_guided(**A2PR, scale=0.4), [0.02, 0.026, 0], rtol=1e-6)


def test_advantage_guided_equals_numpy_and_finite_differences(rng, float64, check_gradient) -> None:
    action, behavior, candidate = rng.normal(size=(3, 40, 2))
    # Few values, so that ties are met.
    behavior_q, candidate_q, value = rng.integers(0, 3, (3, 40)).astype(float)
    expected = np.zeros(40)
    for i in range(40):
        target = candidate[i] if candidate_q[i] >= behavior_q[i] else behavior[i]
        if candidate_q[i] >= value[i] or behavior_q[i] > value[i]:
            expected[i] = 0.7 * np.mean((action[i] - target) ** 2)
    arrays = [jnp.asarray(x) for x in (action, behavior, candidate, behavior_q, candidate_q, value)]
    np.testing.assert_allclose(advantage_guided(*arrays, scale=0.7), expected, rtol=1e-12)
    check_gradient(lambda a, c: advantage_guided(a, arrays[1], c, *arrays[3:], scale=0.7), arrays[0], arrays[2])
    shifted = advantage_guided(*arrays[:3], *(q + 10 for q in arrays[3:]), scale=0.7)
    np.testing.assert_allclose(shifted, expected)


def test_advantage_guided_limits() -> None:
    lowest, highest = ({**A2PR, "value": jnp.full(3, sign * jnp.inf)} for sign in (-1, 1))
    same = {**lowest, "candidate_action": A2PR["behavior_action"]}
    np.testing.assert_allclose(advantage_guided(**same), action_distance(A2PR["action"], A2PR["behavior_action"]))
    value, slope = jax.value_and_grad(lambda a: advantage_guided(**{**highest, "action": a}).sum())(A2PR["action"])
    assert value == 0 and not slope.any()
