import jax
import jax.numpy as jnp
import numpy as np

from rlx.rewards import preference_reward, relabel

ORACLE = jnp.array([1.0, 0.2, 3.0]), jnp.array([0.5, 0.9, 0.0]), jnp.array([0, 1, -1])


def test_preference_oracle() -> None:
    np.testing.assert_allclose(preference_reward(*ORACLE), [0.474077, 0.403186, 0], atol=1e-6)


def test_preference_equals_numpy_and_finite_differences(rng, check_gradient) -> None:
    a, b = rng.normal(scale=3, size=(2, 4, 5))
    label, where = rng.integers(-1, 2, (4, 5)), rng.random((4, 5)) < 0.8
    log_softmax = np.stack([a, b]) - np.log(np.exp(a) + np.exp(b))
    expected = np.where(where & (label >= 0), -np.where(label == 1, log_softmax[1], log_softmax[0]), 0)
    loss = lambda a, b: preference_reward(a, b, jnp.asarray(label), where=jnp.asarray(where))
    np.testing.assert_allclose(loss(jnp.asarray(a), jnp.asarray(b)), expected, rtol=1e-9)
    check_gradient(jax.jit(loss), jnp.asarray(a), jnp.asarray(b))


def test_preference_ignores_an_offset_and_is_symmetric() -> None:
    a, b, label = ORACLE
    np.testing.assert_allclose(preference_reward(a + 7, b + 7, label), preference_reward(*ORACLE), rtol=1e-5)
    swapped = jnp.where(label >= 0, 1 - label, label)
    np.testing.assert_allclose(preference_reward(b, a, swapped), preference_reward(*ORACLE), rtol=1e-6)


def test_pairs_without_an_answer_are_inert_even_at_infinity() -> None:
    wild = jnp.array([jnp.inf, -jnp.inf, jnp.nan, 0.0]), jnp.array([1.0, jnp.inf, 0.0, -90.0])
    label = jnp.array([-1, -1, -1, 1])
    value, slopes = jax.value_and_grad(lambda a, b: preference_reward(a, b, label).sum(), (0, 1))(*wild)
    np.testing.assert_allclose(value, 90)
    np.testing.assert_allclose(slopes, [[0, 0, 0, 1], [0, 0, 0, -1]])


def test_relabel_averages_the_members_at_equal_scale(rng) -> None:
    truth = rng.normal(size=(5, 8)).astype(np.float32)
    members = np.stack([0.1 * truth + 4, -50 + 30 * truth, np.full_like(truth, 0.3)])
    reward = relabel(lambda s: jnp.asarray(members) * s, jnp.ones((5, 8)))
    expected = 2 / 3 * (truth - truth.mean()) / truth.std()  # the constant member has no say
    np.testing.assert_allclose(reward, expected, rtol=1e-3, atol=1e-4)
    plain = relabel(lambda s: jnp.asarray(members).transpose(1, 2, 0), jnp.ones(1), ensemble_axis=-1, normalize=False)
    np.testing.assert_allclose(plain, members.mean(0), rtol=1e-5)


def test_relabelled_rewards_carry_no_gradient() -> None:
    reward = lambda observation: relabel(lambda s: jnp.stack([s, s**2]), observation)[0]
    assert not np.any(jax.grad(reward)(jnp.arange(4.0)))
