import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.policy import clipped_surrogate, decoupled_clip, policy_gradient


def slope(function, log_prob, *args, **options):
    return jax.grad(lambda log_prob: function(log_prob, *args, **options).sum())(log_prob)


def numpy_clipped_surrogate(log_prob, behavior_log_prob, advantage, low, high, dual=np.inf):
    ratio = np.exp(log_prob - behavior_log_prob)
    loss = np.maximum(-advantage * ratio, -advantage * np.clip(ratio, 1 - low, 1 + high))
    return np.where((advantage < 0) & np.isfinite(dual), np.minimum(loss, np.abs(advantage) * dual), loss)


@pytest.fixture
def batch(rng):
    log_prob, behavior, proximal = rng.uniform(-2, 0, (3, 200))
    return log_prob, behavior, proximal, rng.normal(size=200)


def test_clipped_surrogate_oracle() -> None:
    arrays = (
        jnp.array([-1.0, -0.4, -2.0, -0.9]),
        jnp.array([-1.2, -0.9, -1.5, -0.9]),
        jnp.array([1.0, 2.0, -1.0, 0.5]),
    )
    np.testing.assert_allclose(clipped_surrogate(*arrays), [-1.2, -2.4, 0.8, -0.5], rtol=1e-6)
    np.testing.assert_allclose(slope(clipped_surrogate, *arrays), [0, 0, 0, -0.5], atol=1e-7)


def test_clipped_surrogate_oracle_with_a_mask_and_clip_higher() -> None:
    arrays = (
        jnp.array([-1.0, -0.5, -2.0, -3.0]),
        jnp.array([-1.2, -0.9, -1.5, -3.0]),
        jnp.array([1.0, 1.0, -1.0, 5.0]),
    )
    options = {"where": jnp.array([True, True, True, False]), "clip_high": 0.28}
    np.testing.assert_allclose(clipped_surrogate(*arrays, **options), [-1.221403, -1.28, 0.8, 0], rtol=1e-6)
    np.testing.assert_allclose(slope(clipped_surrogate, *arrays, **options), [-1.221403, 0, 0, 0], rtol=1e-6)


def test_dual_clip_oracle() -> None:
    arrays = (
        jnp.array([-1.0, -0.5, -2.0, -0.3]),
        jnp.array([-1.3, -0.4, -1.2, -1.9]),
        jnp.array([1.0, -1.0, -2.0, -0.5]),
    )
    options = {"clip_high": 0.28, "dual_clip": 3.0}
    np.testing.assert_allclose(clipped_surrogate(*arrays, **options), [-1.28, 0.904837, 1.6, 1.5], rtol=1e-6)
    np.testing.assert_allclose(slope(clipped_surrogate, *arrays, **options), [0, 0.904837, 0, 0], rtol=1e-6)
    far = jnp.array([-2.0]), jnp.array([-4.5]), jnp.array([-2.0])
    np.testing.assert_allclose(clipped_surrogate(*far, dual_clip=3), 6, rtol=1e-6)
    assert slope(clipped_surrogate, *far, dual_clip=3) == 0


@pytest.mark.parametrize("dual", [np.inf, 3.0])
def test_clipped_surrogate_equals_numpy_and_finite_differences(batch, float64, check_gradient, dual) -> None:
    log_prob, behavior, _, advantage = batch
    expected = numpy_clipped_surrogate(log_prob, behavior, advantage, 0.1, 0.3, dual)
    options = {"clip_low": 0.1, "clip_high": 0.3, "dual_clip": dual}
    arrays = [jnp.asarray(x) for x in (log_prob, behavior, advantage)]
    np.testing.assert_allclose(clipped_surrogate(*arrays, **options), expected, rtol=1e-12)
    check_gradient(lambda x: clipped_surrogate(x, *arrays[1:], **options), arrays[0])


def test_clipping_can_be_switched_off(batch, float64) -> None:
    log_prob, behavior, _, advantage = map(jnp.asarray, batch)
    loss = clipped_surrogate(log_prob, behavior, advantage, clip_low=1.0, clip_high=jnp.inf)
    np.testing.assert_allclose(loss, -advantage * jnp.exp(log_prob - behavior), rtol=1e-12)


def test_on_policy_gradient_is_the_policy_gradient(batch, float64) -> None:
    log_prob, _, _, advantage = map(jnp.asarray, batch)
    expected = slope(policy_gradient, log_prob, advantage)
    np.testing.assert_allclose(expected, -advantage)
    np.testing.assert_allclose(slope(clipped_surrogate, log_prob, log_prob, advantage), expected)
    for level in ("sequence", "sequence_mean", "prefix"):
        np.testing.assert_allclose(slope(clipped_surrogate, log_prob, log_prob, advantage, level=level), expected)
    np.testing.assert_allclose(slope(decoupled_clip, log_prob, log_prob, log_prob, advantage), expected)


def test_sequence_ratio_weighs_every_token_alike(rng, float64) -> None:
    log_prob, behavior = map(jnp.asarray, rng.uniform(-1, 0, (2, 3, 5)))
    advantage = jnp.ones((3, 1))
    ratio = jnp.exp(jnp.mean(log_prob - behavior, -1, keepdims=True))
    loss = clipped_surrogate(log_prob, behavior, advantage, level="sequence_mean", clip_high=jnp.inf)
    np.testing.assert_allclose(loss, jnp.broadcast_to(-ratio, loss.shape), rtol=1e-12)


def test_no_advantage_is_no_loss_even_at_an_infinite_ratio() -> None:
    far = jnp.array([200.0]), jnp.array([-200.0]), jnp.zeros(1)
    assert clipped_surrogate(*far, bound=jnp.inf) == 0


def test_policy_gradient_oracle() -> None:
    arrays = jnp.array([-1.0, -2.0]), jnp.array([1.0, 0.0])
    np.testing.assert_allclose(policy_gradient(*arrays, scale=0.3), [0.3, 0], rtol=1e-6)
    np.testing.assert_allclose(slope(policy_gradient, *arrays, scale=0.3), [-0.3, 0], rtol=1e-6)


def test_decoupled_clip_oracle() -> None:
    loss = decoupled_clip(
        jnp.array([-1.0, -0.4]), jnp.array([-1.2, -0.9]), jnp.array([-1.1, -0.7]), jnp.array([1.0, -2.0])
    )
    np.testing.assert_allclose(loss, [-1.22140276, 3.29744254], rtol=1e-6)


def test_decoupled_clip_equals_numpy_and_finite_differences(batch, float64, check_gradient) -> None:
    log_prob, behavior, proximal, advantage = batch
    floor = np.maximum(behavior, log_prob - np.log(1.5))
    ratio = np.exp(log_prob - proximal)
    expected = -np.exp(proximal - floor) * np.minimum(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage)
    arrays = [jnp.asarray(x) for x in batch]
    np.testing.assert_allclose(decoupled_clip(*arrays, max_ratio=1.5), expected, rtol=1e-12)
    # A large max_ratio, so that the clamped behavior probability, a constant, does not move with log_prob.
    check_gradient(lambda x: decoupled_clip(x, *arrays[1:]), arrays[0])


def test_decoupled_clip_with_the_behavior_as_anchor_is_the_clipped_surrogate(batch, float64) -> None:
    log_prob, behavior, _, advantage = map(jnp.asarray, batch)
    np.testing.assert_allclose(
        decoupled_clip(log_prob, behavior, behavior, advantage),
        clipped_surrogate(log_prob, behavior, advantage),
        rtol=1e-12,
    )
