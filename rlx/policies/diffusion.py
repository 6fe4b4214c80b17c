"""Sampling from a denoiser, guided by a policy where wanted."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Num, PRNGKeyArray

from rlx.losses.generative.edm import karras_sigmas
from rlx.types import Scalar, floating, like


def guidance_schedule(
    step: Num[Array, "*batch"] | int,
    *,
    num_steps: Scalar,
    scale: Scalar = 1.0,
    cosine: Scalar = 0.3,
    delay: Scalar = 0,
) -> Float[Array, "*batch"]:
    """How strongly policy-guided diffusion (PGD) guides each step of its sampler: less and less, not at the last.

    c_i = scale·(1 − i/n + cosine·sin(π(i+1)/n)) for delay ≤ i < n − 1, else 0.

    Args:
        step: index i of the denoising step [*batch], 0 for the noisiest.
        num_steps: number n of denoising steps.
        scale: strength of the guidance; 0 for none.
        cosine: strength of the bump in the middle of sampling.
        delay: first step that is guided.

    Returns:
        Guidance weight c [*batch].

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.policies import guidance_schedule
        >>> [round(x, 3) for x in guidance_schedule(jnp.arange(5), num_steps=5).tolist()]
        [1.176, 1.085, 0.885, 0.576, 0.0]

    References:
        Jackson et al., 2024, "Policy-Guided Diffusion", arXiv:2404.06356 (with the weights of the released code).
    """
    scale, cosine = floating(scale=scale, cosine=cosine)
    step, num_steps, delay = like(scale, step, num_steps, delay)
    weight = scale * (1 - step / num_steps + cosine * jnp.sin(jnp.pi * (step + 1) / num_steps))
    return jnp.where((step >= delay) & (step < num_steps - 1), weight, 0)


def edm_sample(
    key: PRNGKeyArray,
    denoise_fn: Callable[[Array, Array], Array],
    shape: tuple[int, ...],
    *,
    num_steps: int = 256,
    sigma_min: Scalar = 0.002,
    sigma_max: Scalar = 80.0,
    rho: Scalar = 7.0,
    s_churn: Scalar = 80.0,
    s_tmin: Scalar = 0.05,
    s_tmax: Scalar = 50.0,
    s_noise: Scalar = 1.003,
    second_order: bool = True,
    guidance_fn: Callable[[Array], Array] | None = None,
    guidance_weight: Float[Array, "steps"] | None = None,
    normalize_guidance: bool = False,
    guide_denoised: bool = False,
) -> Float[Array, "*shape"]:
    """EDM's stochastic sampler of a denoiser, whose steps may follow a policy's gradient (policy-guided diffusion).

    From x ~ N(0, σ_0²), at each step i from σ to σ':
    x ← x + c_i·g(x)                                   (guidance)
    σ̂ = σ(1 + γ), x̂ ← x + s_noise·√(σ̂² − σ²)·ε        (churn; γ = min(s_churn/n, √2 − 1) for σ in [s_tmin, s_tmax])
    d = (x̂ − D(x̂, σ̂))/σ̂, x ← x̂ + (σ' − σ̂)·d           (Euler)
    d' = (x − D(x, σ'))/σ', x ← x̂ + (σ' − σ̂)·(d + d')/2 (Heun, where σ' > 0)
    With g the gradient of Σ_t log π(a_t|s_t) in the action entries, and 0 in the others, samples are drawn from
    about p(τ)·Π_t π(a_t|s_t)^c: the data distribution is kept once, which regularizes the target.

    Args:
        key: random key.
        denoise_fn: D, a function of a noised sample x̃ [*shape] and its scale σ [] that gives the denoised sample;
            it is never called at σ = 0.
        shape: static; shape of one sample, such as (time, features). For a batch, `vmap` over the key.
        num_steps: static; number n of denoising steps.
        sigma_min: last noise scale above 0.
        sigma_max: first noise scale.
        rho: spacing of the noise scales, as in `rlx.losses.generative.karras_sigmas`.
        s_churn: noise that is added anew over all steps; 0 for a deterministic sampler.
        s_tmin: smallest scale at which noise is added.
        s_tmax: largest scale at which noise is added.
        s_noise: factor of the added noise.
        second_order: static; Heun's correction, with a second call of `denoise_fn`.
        guidance_fn: g, a function of a sample [*shape] that gives the direction of guidance [*shape], or None.
        guidance_weight: weight c of each step [num_steps]; `guidance_schedule` with its defaults if None.
        normalize_guidance: static; follow g/‖g‖, the norm taken over the whole sample.
        guide_denoised: static; take g at the denoised sample D(x, σ) rather than at x.

    Returns:
        A sample [*shape].

    Raises:
        ValueError: for fewer than 1 step.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from rlx.policies import edm_sample
        >>> denoise = lambda x, sigma: jnp.full_like(x, 3.0)  # of data that are all at 3
        >>> [round(x, 3) for x in edm_sample(jax.random.key(0), denoise, (2,), num_steps=5).tolist()]
        [3.0, 3.0]

    References:
        Karras et al., 2022, "Elucidating the Design Space of Diffusion-Based Generative Models",
        arXiv:2206.00364 (algorithm 2).
        Jackson et al., 2024, "Policy-Guided Diffusion", arXiv:2404.06356 (guidance; the released code takes its
        Euler step from x instead of x̂, which Heun's correction overrides except at the last step).
    """
    sigmas = karras_sigmas(num_steps, sigma_min=sigma_min, sigma_max=sigma_max, rho=rho)
    churned = (sigmas >= s_tmin) & (sigmas <= s_tmax)
    churn = jnp.where(churned, jnp.minimum(s_churn / num_steps, jnp.sqrt(2) - 1), 0).astype(sigmas.dtype)
    if guidance_weight is None:
        guidance_weight = guidance_schedule(jnp.arange(num_steps), num_steps=num_steps)

    def direction(x: Array, sigma: Array) -> Array:
        g = guidance_fn(denoise_fn(x, sigma) if guide_denoised else x)
        return g / (jnp.linalg.norm(g) + 1e-8) if normalize_guidance else g

    def denoise(x: Array, inputs: tuple[Array, ...]) -> tuple[Array, None]:
        key, sigma, next_sigma, churn, weight = inputs
        if guidance_fn is not None:
            x = x + weight * direction(x, sigma)
        raised = sigma * (1 + churn)
        noise = jax.random.normal(key, shape, x.dtype)
        start = x + s_noise * sigma * jnp.sqrt(churn * (2 + churn)) * noise
        clean, left = denoise_fn(start, raised), next_sigma / raised
        x = left * start + (1 - left) * clean  # Euler's step, without the difference of two large numbers
        if second_order:
            above_0 = jnp.where(next_sigma > 0, next_sigma, raised)
            bend = (x - denoise_fn(x, above_0)) / above_0 - (start - clean) / raised
            x = jnp.where(next_sigma > 0, x + (next_sigma - raised) / 2 * bend, x)
        return x.astype(sigmas.dtype), None

    start_key, churn_key = jax.random.split(key)
    x = sigmas[0] * jax.random.normal(start_key, shape, sigmas.dtype)
    keys = jax.random.split(churn_key, num_steps)
    x, _ = lax.scan(denoise, x, (keys, sigmas[:-1], sigmas[1:], churn[:-1], guidance_weight))
    return x
