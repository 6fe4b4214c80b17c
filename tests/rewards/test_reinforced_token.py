import jax.numpy as jnp
import numpy as np

from rlx.rewards import kl_shaped, reinforced_token_reward


def test_oracle() -> None:
    reward = reinforced_token_reward(
        jnp.array([-1.0, -2.0, -0.5]), jnp.array([-1.2, -1.0, -0.5]), jnp.array([-0.5, -4.0, -0.5]), jnp.array(2.0)
    )
    np.testing.assert_allclose(reward, [0.033, -0.04, 2.0], rtol=1e-5)


def test_equals_a_loop_and_pays_at_the_last_valid_token(rng, float64) -> None:
    log_prob, reference, preference = rng.uniform(-80, 0, (3, 4, 6))
    score, mask = rng.normal(scale=20, size=4), rng.random((4, 6)) < 0.6
    mask[0], mask[1], mask[2, 4:] = True, False, False
    expected = np.zeros((4, 6))
    for i in range(4):
        for t in np.flatnonzero(mask[i]):
            expected[i, t] = np.clip(0.02 * (preference[i, t] - reference[i, t]), -0.3, 0.3)
            expected[i, t] -= 0.01 * (log_prob[i, t] - reference[i, t])
            expected[i, t] += np.clip(score[i], -10, 10) * (t == np.flatnonzero(mask[i])[-1])
    arrays = [jnp.asarray(np.where(mask, x, np.nan)) for x in (log_prob, reference, preference)]
    options = {"preference_scale": 0.02, "preference_clip": 0.3}
    reward = reinforced_token_reward(*arrays, jnp.asarray(score), where=jnp.asarray(mask), **options)
    np.testing.assert_allclose(reward, expected, rtol=1e-10, atol=1e-14)
    transposed = (x.T for x in arrays)
    reward = reinforced_token_reward(*transposed, jnp.asarray(score), where=jnp.asarray(mask).T, axis=0, **options)
    np.testing.assert_allclose(reward.T, expected, rtol=1e-10, atol=1e-14)


def test_without_preferences_it_is_the_kl_shaped_reward(rng) -> None:
    log_prob, reference, preference = map(jnp.asarray, rng.uniform(-2, 0, (3, 3, 4)))
    score = jnp.array([1.0, -2.0, 0.5])
    terminal = jnp.zeros((3, 4)).at[:, -1].set(score)
    expected = kl_shaped(terminal, log_prob, reference, coefficient=0.01)
    for other, scale in ((preference, 0.0), (reference, 0.05)):
        reward = reinforced_token_reward(log_prob, reference, other, score, preference_scale=scale)
        np.testing.assert_allclose(reward, expected, rtol=1e-5, atol=1e-7)


def test_unclipped_it_adds_up_to_the_sequence_reward(rng) -> None:
    log_prob, reference, preference = map(jnp.asarray, rng.uniform(-9, 0, (3, 3, 4)))
    reward = reinforced_token_reward(log_prob, reference, preference, jnp.ones(3), preference_clip=jnp.inf)
    expected = 1 - 0.01 * (log_prob - reference).sum(-1) + 0.05 * (preference - reference).sum(-1)
    np.testing.assert_allclose(reward.sum(-1), expected, rtol=1e-4, atol=1e-5)
