import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.policy import value_maximization
from rlx.losses.value import ensemble_target, squared_error, squared_td
from rlx.regularizers.behavior import action_distance


def test_ensemble_target_oracles() -> None:
    arrays = jnp.array([1.0, 0.5]), jnp.array([0.99, 0.0]), jnp.array([[2.0, 3.0], [1.5, 4.0]])
    np.testing.assert_allclose(ensemble_target(*arrays), [2.485, 0.5], rtol=1e-6)
    np.testing.assert_allclose(ensemble_target(*arrays, penalty=jnp.array([0.1, 0.2])), [2.386, 0.5], rtol=1e-6)


@pytest.mark.parametrize("aggregate", ["min", "max", "mean"])
def test_ensemble_target_equals_numpy(rng, float64, aggregate) -> None:
    reward, discount, penalty = rng.normal(size=(3, 5, 4))
    next_q = rng.normal(size=(5, 3, 4))
    expected = np.empty((5, 4))
    for i, j in np.ndindex(5, 4):
        expected[i, j] = reward[i, j] + discount[i, j] * (getattr(np, aggregate)(next_q[i, :, j]) - penalty[i, j])
    arrays = map(jnp.asarray, (reward, discount, next_q))
    target = ensemble_target(*arrays, penalty=jnp.asarray(penalty), aggregate=aggregate, axis=1)
    np.testing.assert_allclose(target, expected, rtol=1e-12)


def test_an_ended_episode_has_no_next_value() -> None:
    next_q = jnp.array([[jnp.inf, jnp.nan, 3.0]])
    np.testing.assert_allclose(ensemble_target(jnp.ones(3), jnp.array([0.0, 0.0, 0.5]), next_q), [1, 1, 2.5])


def test_max_target_backup_of_samples() -> None:
    q = jnp.array([[[1.0, 4.0]], [[2.0, 3.0]]])  # [critic, batch, sample]
    np.testing.assert_allclose(
        ensemble_target(jnp.zeros(1), jnp.ones(1), q.min(0), aggregate="max", axis=-1), jnp.array([3.0])
    )


def test_errors_name_the_argument(unannotated) -> None:
    arrays = {"reward": jnp.zeros(4), "discount": jnp.zeros(4), "next_q": jnp.zeros((2, 4))}
    with unannotated:
        for key, value in arrays.items():
            with pytest.raises(ValueError, match=rf"{key}\b.*int32"):
                ensemble_target(**{**arrays, key: value.astype(jnp.int32)})
            with pytest.raises(ValueError, match=rf"do not broadcast.*{key}"):
                ensemble_target(**{**arrays, key: jnp.zeros((2, 5))})
        with pytest.raises(ValueError, match="penalty"):
            ensemble_target(**arrays, penalty=jnp.zeros((4, 1)))
        with pytest.raises(ValueError, match="aggregate must be one of"):
            ensemble_target(**arrays, aggregate="median")


def test_squared_td_is_twice_the_squared_error_of_every_critic(rng, float64, check_gradient) -> None:
    q, target = jnp.asarray(rng.normal(size=(2, 6))), jnp.asarray(rng.normal(size=6))
    where = jnp.arange(6) < 4
    error = np.asarray(q) - np.asarray(target)
    np.testing.assert_allclose(squared_td(q, target, where=where), np.where(np.arange(6) < 4, error**2, 0))
    np.testing.assert_allclose(squared_td(q, target), 2 * squared_error(q, target))
    check_gradient(lambda q: squared_td(q, target, where=where), q)
    assert not jax.grad(lambda target: squared_td(q, target).sum())(target).any()


def test_rebrac_composes(rng, float64) -> None:
    """Critic target and actor loss, written out by loops."""
    action, data, next_action, next_data = rng.uniform(-1, 1, (4, 5, 2))
    reward, discount, q, next_q = (
        rng.normal(size=5),
        rng.uniform(size=5),
        rng.normal(size=(2, 5)),
        rng.normal(size=(2, 5)),
    )
    penalty = 0.3 * action_distance(jnp.asarray(next_action), jnp.asarray(next_data), reduce="sum")
    target = ensemble_target(jnp.asarray(reward), jnp.asarray(discount), jnp.asarray(next_q), penalty=penalty)
    loss = value_maximization(jnp.asarray(q).min(0), alpha=1.0)
    loss += 0.7 * action_distance(jnp.asarray(action), jnp.asarray(data), reduce="sum")
    smallest = q.min(0)
    for i in range(5):
        apart = sum((next_action[i, d] - next_data[i, d]) ** 2 for d in range(2))
        np.testing.assert_allclose(target[i], reward[i] + discount[i] * (min(next_q[:, i]) - 0.3 * apart))
        near = sum((action[i, d] - data[i, d]) ** 2 for d in range(2))
        np.testing.assert_allclose(loss[i], 0.7 * near - smallest[i] / np.mean(np.abs(smallest)))
