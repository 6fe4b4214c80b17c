import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.generative import karras_sigmas
from rlx.policies import edm_sample, guidance_schedule

MEAN, STD = 0.3, 0.5
CALM = {"s_churn": 0.0, "sigma_max": 20.0, "sigma_min": 0.01}


def denoiser(x, sigma):
    """The exact denoiser of data N(MEAN, STD²)."""
    return (STD**2 * x + sigma**2 * MEAN) / (STD**2 + sigma**2)


def test_guidance_schedule_oracle() -> None:
    np.testing.assert_allclose(
        guidance_schedule(jnp.arange(8), num_steps=8),
        [1.114805, 1.087132, 1.027164, 0.925, 0.777164, 0.587132, 0.364805, 0],
        atol=1e-6,
    )
    later = guidance_schedule(jnp.arange(8), num_steps=8, scale=2, cosine=0, delay=3)
    np.testing.assert_allclose(later, [0, 0, 0, 1.25, 1, 0.75, 0.5, 0], atol=1e-6)


@pytest.mark.slow
def test_deterministic_sampling_transports_the_noise_as_the_exact_flow_does(float64) -> None:
    # dx/dσ = (x − D)/σ of a Gaussian is solved by (x − mean)/√(std² + σ²) = constant.
    key = jax.random.key(0)
    start = CALM["sigma_max"] * jax.random.normal(jax.random.split(key)[0], (50,))
    exact = MEAN + (start - MEAN) * STD / np.hypot(STD, CALM["sigma_max"])
    error = lambda **options: np.abs(edm_sample(key, denoiser, (50,), **CALM, **options) - exact).max()
    second_order = error(num_steps=64)
    assert second_order < 3e-3
    assert error(num_steps=32) / second_order > 3  # a quarter of the error for half the step
    assert error(num_steps=64, second_order=False) > 10 * second_order


def test_churned_samples_have_the_distribution_of_the_data() -> None:
    samples = edm_sample(jax.random.key(1), denoiser, (20_000,), num_steps=40, s_noise=1.0)
    np.testing.assert_allclose([samples.mean(), samples.std()], [MEAN, STD], atol=0.02)


@pytest.mark.parametrize("variant", [{}, {"normalize_guidance": True}, {"guide_denoised": True}])
def test_equals_karras_algorithm_2_with_guidance(float64, variant) -> None:
    """Against the algorithm written out in NumPy, with the noise of the same keys."""
    key, n = jax.random.key(3), 6
    guide, weights = (lambda x: 0.1 * (1 - x)), np.linspace(1, 0, n)
    options = {"s_churn": 2.0, "s_tmin": 0.1, "s_tmax": 9.0, "s_noise": 1.01, "sigma_max": 12.0, **variant}
    actual = edm_sample(
        key, denoiser, (4,), num_steps=n, guidance_fn=guide, guidance_weight=jnp.asarray(weights), **options
    )
    sigmas = np.asarray(karras_sigmas(n, sigma_max=12.0))
    start_key, churn_key = jax.random.split(key)
    x = sigmas[0] * np.asarray(jax.random.normal(start_key, (4,)))
    for i, step_key in enumerate(jax.random.split(churn_key, n)):
        direction = guide(denoiser(x, sigmas[i]) if "guide_denoised" in variant else x)
        x = x + weights[i] * direction / (np.linalg.norm(direction) if "normalize_guidance" in variant else 1)
        gamma = min(2.0 / n, np.sqrt(2) - 1) if 0.1 <= sigmas[i] <= 9 else 0.0
        raised = sigmas[i] * (1 + gamma)
        noise = 1.01 * np.asarray(jax.random.normal(step_key, (4,)))
        start = x + np.sqrt(raised**2 - sigmas[i] ** 2) * noise
        slope = (start - denoiser(start, raised)) / raised
        x = start + (sigmas[i + 1] - raised) * slope
        if sigmas[i + 1] > 0:
            slope_after = (x - denoiser(x, sigmas[i + 1])) / sigmas[i + 1]
            x = start + (sigmas[i + 1] - raised) * (slope + slope_after) / 2
    np.testing.assert_allclose(actual, x, rtol=1e-6)


@pytest.mark.slow
def test_guidance_moves_the_actions_towards_the_policy_and_a_scale_of_0_does_not() -> None:
    toward_2 = lambda x: jnp.array([1.0, 0.0]) * (2 - x)  # the second entry is no action
    schedule = guidance_schedule(jnp.arange(12), num_steps=12)
    options = {"num_steps": 12, **CALM}
    guided = lambda scale, key: edm_sample(
        key, denoiser, (2,), guidance_fn=toward_2, guidance_weight=scale * schedule, **options
    )
    keys = jax.random.split(jax.random.key(5), 30)
    unguided = jax.vmap(lambda key: edm_sample(key, denoiser, (2,), **options))(keys)
    unmoved, moved = jax.vmap(jax.vmap(guided, (None, 0)), (0, None))(jnp.array([0.0, 0.4]), keys)
    np.testing.assert_allclose(unmoved, unguided, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(moved[:, 1], unguided[:, 1], rtol=1e-4, atol=1e-4)
    assert moved[:, 0].mean() > unguided[:, 0].mean() + 0.1
