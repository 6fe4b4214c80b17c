import jax
import jax.numpy as jnp
import numpy as np

from rlx.controllers import preference_beta


def test_oracle_and_its_ends() -> None:
    schedule = jax.jit(jax.vmap(lambda gap, step, floor: preference_beta(gap, step, start=100, stop=200, floor=floor)))
    gap, step = jnp.array([0.5, 0.5, 0.5, 2, 0]), jnp.array([0, 150, 400, 100, 100])
    expected = [1224.593312, 918.444984, 612.296656, 3807.97078, 0]
    np.testing.assert_allclose(schedule(gap, step, jnp.full(5, 0.5)), expected, rtol=1e-5)
    late = schedule(jnp.full(5, 50.0), jnp.array([0, 200, 10**6, 125, 175]), jnp.full(5, 0.1))
    quarter = 0.1 + 0.9 * (1 + np.cos(np.pi * np.array([0.25, 0.75]))) / 2
    np.testing.assert_allclose(late, 5000 * np.array([1, 0.1, 0.1, *quarter]), rtol=1e-5)


def test_late_steps_are_exact_in_half_precision() -> None:
    gap = jnp.array([50.0], jnp.bfloat16)
    at = lambda step: preference_beta(gap, step, beta=1.0, start=10_000, stop=10_004)
    steps = [float(at(10_000 + i)[0]) for i in range(5)]
    np.testing.assert_allclose(steps, 0.75 + 0.25 * np.cos(np.pi * np.arange(5) / 4), atol=4e-3)
