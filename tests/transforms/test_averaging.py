import jax
import jax.numpy as jnp
import numpy as np

from rlx.transforms import average_parameters, soup


def test_oracle_and_leaves_that_do_not_average() -> None:
    first = {"w": jnp.array([1.0, 2.0]), "step": jnp.array(3), "half": jnp.array([1.0], jnp.bfloat16)}
    second = {"w": jnp.array([3.0, -2.0]), "step": jnp.array(9), "half": jnp.array([2.0], jnp.bfloat16)}
    average = average_parameters(first, second)
    np.testing.assert_allclose(average["w"], [2, 0])
    assert average["step"] == 3 and average["half"].dtype == jnp.bfloat16 and average["half"] == 1.5
    stacked = soup(jax.tree.map(lambda *x: jnp.stack(x), first, second))
    jax.tree.map(np.testing.assert_array_equal, stacked, average)


def test_ends_and_equal_models_are_exact_and_shares_sweep(rng) -> None:
    first, second = jnp.asarray(rng.normal(size=(2, 50)), jnp.float32)
    np.testing.assert_array_equal(average_parameters(first, second, weight=1.0), first)
    np.testing.assert_array_equal(average_parameters(first, first, weight=0.3), first)
    shares = jnp.array([0.0, 0.3, 0.5])
    swept = jax.jit(jax.vmap(lambda share: average_parameters(first, second, weight=share)))(shares)
    np.testing.assert_allclose(swept, shares[:, None] * first + (1 - shares[:, None]) * second, atol=1e-6)


def test_soup_is_a_normalized_average(float64, rng) -> None:
    stack, weight = rng.normal(size=(4, 3, 2)), rng.uniform(0.1, 2, 4)
    cooked = soup({"w": jnp.asarray(stack)}, weight=jnp.asarray(weight))["w"]
    np.testing.assert_allclose(cooked, np.average(stack, axis=0, weights=weight), rtol=1e-12)
    np.testing.assert_allclose(soup(jnp.asarray(stack)), stack.mean(0), rtol=1e-12)
