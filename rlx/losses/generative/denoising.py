"""Regression of noise and of scores, with weights: the losses of DDPM and score-based policies."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.types import check_choice, elements


def denoising_loss(
    prediction: Float[Array, "*#batch event"],
    target: Float[Array, "*#batch event"],
    *,
    weight: Float[Array, "*#batch"] | None = None,
    where: Bool[Array, "*#batch"] | None = None,
    reduce: str = "mean",
) -> Float[Array, "*batch"]:
    """Weighted squared error of a predicted noise: DDPM's loss, and a policy's once it is weighted.

    L = w · mean_event (ε̂ − sg(ε))², or the sum over the event. With w = exp(A/β), the clipped advantage
    weight, it extracts a diffusion policy from a critic; with w = 1 it clones behavior.

    Args:
        prediction: predicted noise ε̂ [*batch, event], or another quantity that the network predicts; carries
            the gradient.
        target: noise ε that was added [*batch, event]; a constant.
        weight: weight w of each sample [*batch]; a constant.
        where: boolean mask [*batch], True where a sample counts.
        reduce: static; "mean" or "sum" over the event.

    Returns:
        Loss per sample [*batch], 0 where masked.

    Raises:
        ValueError: for an unknown `reduce`, a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import generative
        >>> prediction, target = jnp.array([[1.0, 0.0], [1.0, 0.0]]), jnp.zeros((2, 2))
        >>> print(generative.denoising_loss(prediction, target, weight=jnp.array([1.0, 3.0])))
        [0.5 1.5]

    References:
        Ho et al., 2020, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239 (equation 14).
        Zheng et al., 2025, "Towards Robust Zero-Shot Reinforcement Learning" (BREEZE: weighted).
        Mark et al., 2024, "Policy Agnostic RL: Offline RL and Online RL Fine-Tuning of Any Class and Backbone",
        arXiv:2412.06685 (summed, on optimized actions).
    """
    check_choice("reduce", reduce, ("mean", "sum"))
    per_sample = lambda x: x if x is None else jnp.expand_dims(x, -1)
    prediction, target, weight = elements(
        prediction=prediction,
        target=target,
        weight=1.0 if weight is None else per_sample(weight),
        where=per_sample(where),
    )
    target, weight = lax.stop_gradient((target, weight))
    over_event = jnp.mean if reduce == "mean" else jnp.sum
    return over_event(weight * jnp.square(prediction - target), -1)


def denoising_score_matching(
    score: Float[Array, "*#batch event"],
    noise: Float[Array, "*#batch event"],
    sigma: Float[Array, "*#batch"],
    *,
    weight: Float[Array, "*#batch"] | None = None,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Denoising score matching (DSM): squared error of a score, which the score of the noised data minimizes.

    L = w · Σ_d (σ·score(x + σ·ε) + ε)²: the target score is −ε/σ and the error is weighted by σ², so that every
    noise scale counts alike.

    Args:
        score: ∇ log p_σ at x + σ·ε [*batch, event]; carries the gradient.
        noise: the standard normal ε that was added [*batch, event]; a constant.
        sigma: noise scale σ of each sample [*batch]; a constant.
        weight: weight w of each sample [*batch]; a constant.
        where: boolean mask [*batch], True where a sample counts.

    Returns:
        Loss per sample [*batch], 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import generative
        >>> noise, sigma = jnp.array([[1.0, -2.0], [1.0, -2.0]]), jnp.array([0.1, 10.0])
        >>> print(generative.denoising_score_matching(jnp.zeros((2, 2)), noise, sigma))
        [5. 5.]
        >>> print(np.asarray(generative.denoising_score_matching(-noise / sigma[:, None], noise, sigma)).round(3))
        [0. 0.]

    References:
        Vincent, 2011, "A Connection Between Score Matching and Denoising Autoencoders".
        Song & Ermon, 2019, "Generative Modeling by Estimating Gradients of the Data Distribution",
        arXiv:1907.05600 (the weight σ²).
        Liu et al., 2024, "CDSA: Conservative Denoising Score-based Algorithm for Offline Reinforcement
        Learning", arXiv:2406.07541 (of states and actions together).
    """
    per_sample = lambda x: x if x is None else jnp.expand_dims(x, -1)
    score, noise, sigma = elements(score=score, noise=noise, sigma=per_sample(sigma), where=per_sample(where))
    return denoising_loss(lax.stop_gradient(sigma) * score, -noise, weight=weight, where=where, reduce="sum")
