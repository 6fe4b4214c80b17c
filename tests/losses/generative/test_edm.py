import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.generative import edm_denoised_loss, edm_scalings, karras_sigmas


def test_scalings_oracle() -> None:
    for sigma, sigma_data, expected in (
        (0.5, 1.0, (0.8, 0.447214, 0.894427, -0.173287)),
        (2.0, 1.0, (0.2, 0.894427, 0.447214, 0.173287)),
        (0.5, 0.5, (0.5, 0.353553, 1.414214, -0.173287)),
    ):
        np.testing.assert_allclose(edm_scalings(jnp.array(sigma), sigma_data=sigma_data), expected, rtol=3e-6)


def test_a_network_of_unit_variance_sees_and_predicts_unit_variance(rng, float64) -> None:
    clean, noise = 0.7 * rng.normal(size=200_000), rng.normal(size=200_000)
    for sigma in (0.01, 0.7, 20.0):
        c_skip, c_out, c_in, _ = edm_scalings(jnp.array(sigma), sigma_data=0.7)
        noised = clean + sigma * noise
        np.testing.assert_allclose(np.std(c_in * noised), 1, rtol=0.01)
        np.testing.assert_allclose(np.std((clean - c_skip * noised) / c_out), 1, rtol=0.01)


def test_denoised_loss_oracle() -> None:
    loss = edm_denoised_loss(jnp.array([0.5, 1.0]), jnp.array([0.0, 2.0]), jnp.array(0.5), sigma_data=1)
    np.testing.assert_allclose(loss, [1.25, 5], rtol=1e-6)


def test_denoised_loss_is_the_squared_error_of_the_network(rng, float64, check_gradient) -> None:
    clean, noise, prediction = (jnp.asarray(x) for x in rng.normal(size=(3, 4, 5)))
    sigma, weight = jnp.asarray(rng.lognormal(-1.2, 1.2, 4)), jnp.asarray(rng.uniform(0, 3, 4))
    c_skip, c_out, _, _ = edm_scalings(sigma[:, None], sigma_data=0.6)
    noised = clean + sigma[:, None] * noise
    loss = lambda prediction: edm_denoised_loss(
        c_skip * noised + c_out * prediction, clean, sigma, sigma_data=0.6, weight=weight
    )
    network_target = (clean - c_skip * noised) / c_out
    np.testing.assert_allclose(loss(prediction), weight[:, None] * (prediction - network_target) ** 2, rtol=1e-9)
    check_gradient(jax.jit(loss), prediction)


def test_denoised_loss_holds_all_but_the_denoised_constant(rng) -> None:
    denoised, clean = (jnp.asarray(x, jnp.float32) for x in rng.normal(size=(2, 3, 2)))
    where = jnp.array([True, False, True])
    total = lambda *args: edm_denoised_loss(args[0], args[1], args[2], weight=args[3], where=where).sum()
    slopes = jax.grad(total, (0, 1, 2, 3))(denoised, clean, jnp.array([0.1, 0.0, 2.0]), jnp.ones(3))
    assert np.any(slopes[0]) and not np.any(slopes[0][1])
    assert not any(np.any(x) for x in slopes[1:])


def test_karras_sigmas_oracle() -> None:
    np.testing.assert_allclose(karras_sigmas(5), [80, 17.527832, 2.515219, 0.169753, 0.002, 0], rtol=2e-5)
    np.testing.assert_allclose(karras_sigmas(3, sigma_min=0.01, sigma_max=1, rho=5), [1, 0.166937, 0.01, 0], rtol=2e-5)
    np.testing.assert_allclose(karras_sigmas(4, sigma_min=1, sigma_max=7, rho=1), [7, 5, 3, 1, 0], rtol=1e-6)
    np.testing.assert_allclose(karras_sigmas(1, sigma_max=3.0), [3, 0], rtol=1e-6)
    with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
        karras_sigmas(0)
