"""Bootstrap values of a rollout equal evaluating the critic on every next observation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import policies
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


@pytest.mark.slow
def test_a_large_rollout_is_valued_in_pieces():
    """The temporaries of one pass over 131,072 steps would be 128 MiB a layer of 256; values are the same."""
    time, env = 32, 4096
    assert time * env >= 2 * bootstrap.ROWS_PER_PASS
    critic = policies.critic((256,))
    observation = jnp.linspace(-1, 1, time * env * 2).reshape(time, env, 2)
    none = jnp.zeros((time, env), bool)
    value_fn = partial(critic.apply, critic.init(jax.random.key(0), observation[0, 0]))
    in_pieces = jax.jit(lambda x: bootstrap.rollout_values(value_fn, x, x, none, none)[0]).lower(observation).compile()
    at_once = jax.jit(lambda x: value_fn(x.reshape(-1, 2))).lower(observation).compile()
    sizes = [program.memory_analysis().temp_size_in_bytes for program in (in_pieces, at_once)]
    assert sizes[0] < 0.6 * sizes[1], sizes
    np.testing.assert_allclose(in_pieces(observation).reshape(-1), at_once(observation), rtol=1e-4, atol=1e-5)
