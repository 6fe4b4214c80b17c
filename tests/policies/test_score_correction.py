import jax.numpy as jnp
import numpy as np

from rlx.policies import score_corrected_action


def test_correction_adds_the_scores_and_clips() -> None:
    action, score = jnp.array([0.5, -0.9, 0.0]), jnp.array([1.0, -4.0, -2.0])
    np.testing.assert_allclose(score_corrected_action(action, score), [0.6, -1, -0.2], atol=1e-6)
    toward_dense_states = jnp.array([0.2, 0.2, 0.2])
    corrected = score_corrected_action(action, score, state_action_correction=toward_dense_states, high=0.7)
    np.testing.assert_allclose(corrected, [0.7, -1, 0], atol=1e-6)


def test_no_score_or_no_scale_leaves_the_action() -> None:
    action = jnp.array([0.5, -0.9])
    np.testing.assert_array_equal(score_corrected_action(action, jnp.zeros(2)), action)
    np.testing.assert_array_equal(score_corrected_action(action, jnp.ones(2), scale=0), action)


def test_corrections_bring_a_biased_policy_back_to_the_data() -> None:
    # Data N(0, 0.2²), whose score is −a / 0.04; a step of 0.01 takes off a quarter of the bias.
    action = jnp.full(1, 0.3)
    for _ in range(4):
        action = score_corrected_action(action, -action / 0.04, scale=0.01)
    np.testing.assert_allclose(action, 0.3 * 0.75**4, rtol=1e-5)
