"""Bootstrap values of a rollout equal evaluating the critic on every next observation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.algorithms import bootstrap


@pytest.mark.parametrize("rate", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("rows", [1, 7, 256])
def test_next_values_equal_a_dense_evaluation(rate, rows, rng, monkeypatch):
    monkeypatch.setattr(bootstrap, "ROWS_PER_CALL", rows)
    time, env = 6, 5
    observation = rng.normal(size=(time + 1, env, 3)).astype(np.float32)
    terminated = rng.uniform(size=(time, env)) < 0.2
    truncated = (rng.uniform(size=(time, env)) < rate) & ~terminated
    reached = rng.normal(size=(time, env, 3)).astype(np.float32)
    next_observation = np.where((terminated | truncated)[..., None], reached, observation[1:])
    value_fn = lambda x: jnp.sin(x).sum(-1)
    value, next_value = jax.jit(bootstrap.rollout_values, static_argnums=0)(
        value_fn, observation[:-1], next_observation, terminated, truncated
    )
    np.testing.assert_allclose(value, np.sin(observation[:-1]).sum(-1), rtol=1e-5, atol=1e-6)
    expected = np.sin(next_observation).sum(-1)
    np.testing.assert_allclose(
        np.where(terminated, 0, next_value), np.where(terminated, 0, expected), rtol=1e-5, atol=1e-6
    )


def test_vmap_over_seeds_equals_a_loop(rng):
    observation = jnp.asarray(rng.normal(size=(3, 4, 2, 3)), jnp.float32)
    truncated = jnp.asarray(rng.uniform(size=(3, 4, 2)) < 0.3)
    run = lambda observation, truncated: bootstrap.rollout_values(
        lambda x: x.sum(-1), observation, observation + 1, jnp.zeros((4, 2), bool), truncated
    )
    batched = jax.vmap(run)(observation, truncated)
    for i in range(3):
        for one, many in zip(run(observation[i], truncated[i]), batched):
            np.testing.assert_array_equal(one, many[i])
