"""Denoisers preconditioned for one network at every noise scale, as in Karras et al.: x̃ = x + σ·ε."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import Scalar, elements, floating, like


def edm_scalings(
    sigma: Float[Array, "*batch"], *, sigma_data: Scalar = 0.5
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"], Float[Array, "*batch"], Float[Array, "*batch"]]:
    """EDM's scalings, which keep the inputs and targets of a denoising network at unit variance.

    The denoiser is D(x̃, σ) = c_skip·x̃ + c_out·F(c_in·x̃, c_noise), and with d² = σ² + σ_data²
    c_skip = σ_data² / d², c_out = σ·σ_data / d, c_in = 1 / d, c_noise = ¼ log σ.

    Args:
        sigma: noise scale σ [*batch], above 0: c_noise is −∞ at 0.
        sigma_data: standard deviation of the data.

    Returns:
        (c_skip, c_out, c_in, c_noise), each [*batch].

    Raises:
        ValueError: if `sigma` is not floating.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import generative
        >>> c_skip, c_out, c_in, c_noise = generative.edm_scalings(jnp.array([0.01, 0.5, 50.0]))
        >>> print(np.asarray(c_skip).round(3), np.asarray(c_out).round(3))
        [1.  0.5 0. ] [0.01  0.354 0.5  ]

    References:
        Karras et al., 2022, "Elucidating the Design Space of Diffusion-Based Generative Models",
        arXiv:2206.00364 (table 1).
        Jackson et al., 2024, "Policy-Guided Diffusion", arXiv:2404.06356 (with sigma_data=1).
    """
    (sigma,) = floating(sigma=sigma)
    (sigma_data,) = like(sigma, sigma_data)
    norm = jnp.hypot(sigma, sigma_data)
    return jnp.square(sigma_data / norm), sigma * sigma_data / norm, 1 / norm, jnp.log(sigma) / 4


def edm_denoised_loss(
    denoised: Float[Array, "*#batch event"],
    clean: Float[Array, "*#batch event"],
    sigma: Float[Array, "*#batch"],
    *,
    sigma_data: Scalar = 0.5,
    weight: Float[Array, "*#batch"] | None = None,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch event"]:
    """EDM's squared error of a denoised sample, weighted so that every noise scale counts alike.

    L = w·(σ² + σ_data²) / (σ·σ_data)² · (D − x)², where D = c_skip·x̃ + c_out·F of `edm_scalings`. The factor
    is 1 / c_out², so that L is the squared error of the network output F. Training draws log σ ~ N(−1.2, 1.2²).

    Args:
        denoised: denoised sample D(x + σ·ε, σ) [*batch, event]; carries the gradient.
        clean: sample x that the noise was added to [*batch, event]; a constant.
        sigma: noise scale σ of each sample [*batch], above 0; a constant.
        sigma_data: standard deviation of the data.
        weight: weight w of each sample [*batch], such as an advantage weight; a constant.
        where: boolean mask [*batch], True where a sample counts.

    Returns:
        Loss per feature [*batch, event], 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import generative
        >>> sigma, network_error = jnp.array([0.1, 10.0]), 2.0
        >>> c_skip, c_out, c_in, c_noise = generative.edm_scalings(sigma)
        >>> denoised = network_error * c_out[:, None]
        >>> print(np.asarray(generative.edm_denoised_loss(denoised, jnp.zeros((2, 1)), sigma)[:, 0]).round(3))
        [4. 4.]

    References:
        Karras et al., 2022, "Elucidating the Design Space of Diffusion-Based Generative Models",
        arXiv:2206.00364 (equation 8).
        Jackson et al., 2024, "Policy-Guided Diffusion", arXiv:2404.06356.
    """
    per_sample = lambda x: x if x is None else jnp.expand_dims(x, -1)
    where = per_sample(where)
    denoised, clean, sigma, weight = elements(
        denoised=denoised,
        clean=clean,
        sigma=per_sample(sigma),
        weight=1.0 if weight is None else per_sample(weight),
        where=where,
    )
    clean, sigma, weight = lax.stop_gradient((clean, sigma, weight))
    if where is not None:
        sigma = jnp.where(where, sigma, 1)  # where the mask has put 0, at which c_out is 0
    _, c_out, _, _ = edm_scalings(sigma, sigma_data=sigma_data)
    return weight * jnp.square((denoised - clean) / c_out)


def karras_sigmas(
    num_steps: int, *, sigma_min: Scalar = 0.002, sigma_max: Scalar = 80.0, rho: Scalar = 7.0
) -> Float[Array, "sigmas"]:
    """Noise scales of EDM's sampler, which steps more finely the less noise is left.

    σ_i = (σ_max^{1/ρ} + i/(n−1)·(σ_min^{1/ρ} − σ_max^{1/ρ}))^ρ for i = 0 … n−1, then σ_n = 0.

    Args:
        num_steps: static; number n of steps, at least 1 (one step goes from σ_max to 0).
        sigma_min: last scale above 0.
        sigma_max: first scale.
        rho: how much finer the steps become; 1 is arithmetic, and the larger the closer to geometric.

    Returns:
        Descending scales [num_steps + 1].

    Raises:
        ValueError: for fewer than 1 step.

    Examples:
        >>> import numpy as np
        >>> from rlx.losses import generative
        >>> print(np.asarray(generative.karras_sigmas(3, sigma_min=1.0, sigma_max=9.0, rho=2.0)).round(3))
        [9. 4. 1. 0.]
        >>> print(np.asarray(generative.karras_sigmas(3, sigma_min=1.0, sigma_max=9.0, rho=1.0)).round(3))
        [9. 5. 1. 0.]

    References:
        Karras et al., 2022, "Elucidating the Design Space of Diffusion-Based Generative Models",
        arXiv:2206.00364 (equation 5).
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    sigma_min, sigma_max, rho = floating(sigma_min=sigma_min, sigma_max=sigma_max, rho=rho)
    first, last = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    progress = jnp.arange(num_steps, dtype=rho.dtype) / max(num_steps - 1, 1)
    return jnp.append((first + progress * (last - first)) ** rho, jnp.zeros((), rho.dtype))
