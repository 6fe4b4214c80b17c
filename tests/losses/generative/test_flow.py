import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.generative import flow_matching_loss, interpolate

CLEAN, NOISE, VELOCITY = jnp.array([[0.2, 0.3]]), jnp.array([[1.0, -0.4]]), jnp.array([[0.5, -1.0]])


def test_oracle() -> None:
    np.testing.assert_allclose(flow_matching_loss(VELOCITY, CLEAN, NOISE), [0.09], rtol=1e-6)
    as_noise = flow_matching_loss(VELOCITY, CLEAN, NOISE, time=jnp.array([0.25]), target="noise")
    np.testing.assert_allclose(as_noise, [0.050625], rtol=1e-6)


@pytest.mark.parametrize("target", ["noise", "clean"])
def test_targets_are_errors_of_what_the_velocity_implies(rng, float64, target) -> None:
    clean, noise, velocity = (jnp.asarray(x) for x in rng.normal(size=(3, 5, 4)))
    time = jnp.asarray(rng.uniform(size=5))
    point = np.asarray(interpolate(clean, noise, time))
    t = np.asarray(time)[:, None]
    np.testing.assert_allclose(point, (1 - t) * np.asarray(clean) + t * np.asarray(noise))
    implied = {"noise": point + (1 - t) * velocity - noise, "clean": point - t * velocity - clean}[target]
    loss = flow_matching_loss(velocity, clean, noise, time=time, target=target)
    np.testing.assert_allclose(loss, np.mean(np.square(implied), -1), rtol=1e-12)


def test_the_line_itself_has_no_loss_and_ends_are_the_samples() -> None:
    np.testing.assert_array_equal(flow_matching_loss(NOISE - CLEAN, CLEAN, NOISE), 0)
    np.testing.assert_allclose(interpolate(CLEAN, NOISE, jnp.zeros(1)), CLEAN)
    np.testing.assert_allclose(interpolate(CLEAN, NOISE, jnp.ones(1)), NOISE)


def test_gradient_reaches_the_velocity_alone(rng, check_gradient) -> None:
    check_gradient(
        lambda v: flow_matching_loss(v, CLEAN.astype(v.dtype), NOISE.astype(v.dtype)), rng.normal(size=(1, 2))
    )
    slopes = jax.grad(lambda *a: flow_matching_loss(*a).sum(), argnums=(1, 2))(VELOCITY, CLEAN, NOISE)
    assert not any(np.any(slope) for slope in slopes)


def test_a_target_that_needs_the_time_says_so() -> None:
    with pytest.raises(ValueError, match="time must be given for the target 'noise'"):
        flow_matching_loss(VELOCITY, CLEAN, NOISE, target="noise")
