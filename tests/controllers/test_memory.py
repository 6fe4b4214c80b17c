import jax
import jax.numpy as jnp
import numpy as np

from rlx.controllers import first_value, running_mean


def test_the_first_value_stays() -> None:
    controller = first_value()
    state = controller.init(jnp.zeros(2))
    values = jnp.array([[0.0, 3.0], [5.0, 6.0], [7.0, jnp.nan]])
    _, anchors = jax.lax.scan(lambda state, x: controller.update(state, x)[::-1], state, values)
    np.testing.assert_array_equal(anchors, [[0, 3]] * 3)
    assert jax.grad(lambda x: controller.update(controller.init(x), x)[0])(1.5) == 0


def test_the_mean_is_over_what_was_seen_of_each_element(rng) -> None:
    controller = running_mean()
    values, where = rng.normal(size=(30, 5)), rng.random((30, 5)) < 0.5
    where[0], where[:, 4] = False, False
    poisoned = jnp.asarray(np.where(where, values, np.nan), jnp.float32)
    state = controller.init(jnp.ones(5))
    update = lambda state, row: controller.update(state, row[0], where=row[1])[::-1]
    state, means = jax.lax.scan(update, state, (poisoned, jnp.asarray(where)))
    for i in range(30):
        seen = [values[: i + 1, k][where[: i + 1, k]] for k in range(5)]
        np.testing.assert_allclose(means[i], [x.mean() if x.size else 0 for x in seen], atol=1e-6)
    np.testing.assert_array_equal(state.count, where.sum(0))


def test_the_mean_of_bfloat16_values_is_kept_in_float32() -> None:
    controller = running_mean()
    state = controller.init(jnp.zeros((), jnp.bfloat16))
    values = jnp.full(1000, 0.1, jnp.bfloat16).at[::2].set(0.3)
    state, _ = jax.lax.scan(lambda state, x: controller.update(state, x)[::-1], state, values)
    np.testing.assert_allclose(state.mean, np.mean(np.asarray(values, float)), rtol=1e-4)
