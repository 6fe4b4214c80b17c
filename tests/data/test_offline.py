import jax.numpy as jnp
import numpy as np
import pytest

from rlx.data import normalize_states, transitions


def test_transitions_equal_the_loop_of_d4rl(rng) -> None:
    observation, reward = rng.normal(size=(30, 2)), rng.normal(size=30)
    terminal, timeout = rng.random((2, 30)) < 0.2
    rows = []
    for i in range(29):
        if timeout[i]:
            continue
        rows.append((*observation[i], reward[i], *observation[i + 1], float(terminal[i])))
    log = {"observation": jnp.asarray(observation), "reward": jnp.asarray(reward)}
    data = transitions(log, terminal=jnp.asarray(terminal), timeout=jnp.asarray(timeout))
    found = np.column_stack(
        [data.step["observation"], data.step["reward"], data.next_step["observation"], data.terminal]
    )
    np.testing.assert_allclose(found[data.where], np.array(rows), rtol=1e-6)


def test_flags_may_be_numbers_and_rows_must_agree(unannotated) -> None:
    flag = jnp.array([0.0, 1.0, 0.0])
    data = transitions(jnp.arange(3), terminal=0 * flag, timeout=flag)
    assert data.where.tolist() == [True, False] and data.step.tolist() == [0, 1] and not data.terminal.any()
    with unannotated:
        for rows, flags in ((jnp.ones(4), flag), (jnp.ones(1), flag[:1]), (jnp.ones((3, 1)), flag[:, None])):
            with pytest.raises(ValueError, match="must have the same number of rows, at least 2"):
                transitions(rows, terminal=flags, timeout=flags)


def test_normalize_states_equals_numpy(rng, float64) -> None:
    states, where = 3 + 2 * rng.normal(size=(4, 5, 3)), rng.random((4, 5)) < 0.7
    states[..., 2] = 7  # A constant feature.
    kept = states[where]
    normalized, mean, scale = normalize_states(jnp.asarray(states), where=jnp.asarray(where))
    np.testing.assert_allclose(mean, kept.mean(0), rtol=1e-12)
    np.testing.assert_allclose(scale, kept.std(0) + 1e-3, rtol=1e-12)
    expected = np.where(where[..., None], (states - kept.mean(0)) / (kept.std(0) + 1e-3), 0)
    np.testing.assert_allclose(normalized, expected, atol=1e-12)


def test_normalize_states_far_from_the_origin(rng) -> None:
    states = (1e4 + rng.normal(size=(1000, 2))).astype(np.float32)
    wide = states.astype(np.float64)
    np.testing.assert_allclose(
        normalize_states(jnp.asarray(states)).states, (wide - wide.mean(0)) / (wide.std(0) + 1e-3), atol=2e-3
    )
