import jax.numpy as jnp
import numpy as np

from rlx.weighting import mixed_outcome, performance_gate

REWARD = jnp.array([[0.0, 0, 0, 0], [1, 0, 0, 1], [1, 1, 1, 1], [1, 0, 0, 0]])
WHERE = jnp.array([[True] * 4, [True] * 4, [True] * 4, [False, True, True, True]])


def test_questions_are_routed() -> None:
    """Each of hard, mixed and easy questions by outcomes in {0, 1}, and one whose success does not count."""
    np.testing.assert_array_equal(mixed_outcome(REWARD), [False, True, False, True])
    np.testing.assert_array_equal(mixed_outcome(REWARD, where=WHERE), [False, True, False, False])
    np.testing.assert_array_equal(performance_gate(REWARD), [True, False, False, False])
    np.testing.assert_array_equal(performance_gate(REWARD, where=WHERE), [True, False, False, True])
    np.testing.assert_array_equal(performance_gate(REWARD.T, threshold=0.25, axis=0), [True, False, False, True])


def test_values_under_the_mask_do_not_count() -> None:
    for poison in (jnp.nan, jnp.inf, -jnp.inf):
        reward = jnp.where(WHERE, REWARD, poison)
        np.testing.assert_array_equal(mixed_outcome(reward, where=WHERE), [False, True, False, False])
        np.testing.assert_array_equal(performance_gate(reward, where=WHERE), [True, False, False, True])


def test_groups_without_rollouts_pass_no_gate() -> None:
    nothing, one = jnp.zeros(4, bool), jnp.arange(4) == 1
    for gate in (mixed_outcome, performance_gate):
        assert not gate(REWARD[0], where=nothing)
    assert not mixed_outcome(REWARD[1], where=one)


def test_the_gate_is_monotone_in_reward(rng) -> None:
    reward = jnp.asarray(rng.normal(size=(50, 4)))
    assert jnp.all(performance_gate(reward) | ~performance_gate(reward + 0.3))
