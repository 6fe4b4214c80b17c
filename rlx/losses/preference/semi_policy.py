"""Preference optimization against samples of an earlier checkpoint, which may be better than the model's."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.losses.preference.pairwise import denoising_dpo
from rlx.types import Scalar, check_choice, elements

FLIPS = ("sign", "indicator")


def seppo(
    chosen_error: Float[Array, "*#batch"],
    sample_error: Float[Array, "*#batch"],
    reference_chosen_error: Float[Array, "*#batch"],
    reference_sample_error: Float[Array, "*#batch"],
    *,
    beta: Scalar = 2000.0,
    flip: str = "sign",
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Semi-policy preference optimization of a diffusion model, with samples of a checkpoint as the other side.

    L = −log σ(−β·[(e_w − e_w^ref) − g·(e_s − e_s^ref)]), with e the squared noise-prediction error. Where the
    model fits the winner better than the checkpoint, e_w < e_w^ref, the checkpoint's sample is a loser, g = 1.
    Elsewhere it is probably better than what the model makes: g = −1 treats it as a second winner (flip
    "sign"; g = 0 at a tie), g = 0 leaves it out (flip "indicator"). g is constant; g = 1 is `denoising_dpo`.
    On a CPU the exponential and the logarithm of the link cost several times the memory traffic.

    Args:
        chosen_error: squared error e_w of the dataset's preferred sample under the model [*batch]; carries the
            gradient.
        sample_error: squared error e_s of the checkpoint's sample under the model; carries the gradient.
        reference_chosen_error: e_w under the checkpoint, at the same time and noise; a constant.
        reference_sample_error: e_s under the checkpoint, at the same time and noise; a constant.
        beta: strength β of the divergence.
        flip: static; "sign" or "indicator".
        where: boolean mask, True where a pair counts.

    Returns:
        Loss per pair, 0 where masked.

    Raises:
        ValueError: for an unknown `flip`, a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> chosen_error, sample_error, reference = jnp.array([0.9, 1.1]), jnp.array([0.9, 0.9]), jnp.array([1.0, 1.0])
        >>> loss = lambda x: preference.seppo(chosen_error, x, reference, reference, beta=1.0).sum()
        >>> print(np.asarray(jax.grad(loss)(sample_error)).round(2))
        [-0.5  0.5]

    References:
        Zhang et al., 2024, "SePPO: Semi-Policy Preference Optimization for Diffusion Alignment",
        arXiv:2410.05255.

    Reconstruction:
        The criterion is described in the abstracts and in public reviews, as a comparison of prediction errors
        on the winner by sign or indicator; the public repository holds no training code. Where the factor
        enters, and β, which is Diffusion-DPO's, are our reading.
    """
    check_choice("flip", flip, FLIPS)
    chosen, sample, reference_chosen, reference_sample = elements(
        chosen_error=chosen_error,
        sample_error=sample_error,
        reference_chosen_error=reference_chosen_error,
        reference_sample_error=reference_sample_error,
        where=where,
    )
    lead = lax.stop_gradient(reference_chosen - chosen)
    factor = jnp.sign(lead) if flip == "sign" else (lead > 0).astype(lead.dtype)
    return denoising_dpo(chosen, factor * sample, reference_chosen, factor * reference_sample, beta=beta, where=where)
