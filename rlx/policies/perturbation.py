"""Noise on the hidden states of a network, as a pure function of arrays."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rlx.types import Scalar, floating, like


def perturb(key: PRNGKeyArray, hidden: Float[Array, "*batch"], log_scale: Scalar) -> Float[Array, "*batch"]:
    """Hidden states with Gaussian noise of a learnable scale, for the training pass of a policy (ALP).

    h' = h + exp(log_scale) · ε with ε ~ N(0, I). Done at the input of every layer, before its first
    normalization, with a scale and a key of its own for each layer. The log-probabilities of the noisy network
    are then `log_prob` in `rlx.losses.policy.clipped_surrogate` (in the paper with level "sequence", clip_low
    0.5, clip_high 3 and dual_clip 3), those of the noiseless rollouts `behavior_log_prob`; there is no noise in
    rollouts and evaluation.

    Args:
        key: a `jax.random.key`; the same one where a layer is computed again in the backward pass.
        hidden: hidden states h [*batch]; carries the gradient. In bfloat16 a scale of 1e-6 is rounded away: keep
            the residual stream in float32.
        log_scale: logarithm of the noise's standard deviation, a scalar or broadcasting to `hidden`; trained with
            the network, it carries the gradient. −inf is no noise.

    Returns:
        Hidden states of the same shape.

    Raises:
        ValueError: for a non-floating array.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from rlx.policies import perturb
        >>> noisy = perturb(jax.random.key(0), jnp.zeros(10_000), jnp.log(0.3))
        >>> round(float(jnp.std(noisy)), 1)
        0.3

    References:
        Ye et al., 2026, "Adaptive Layerwise Perturbation: Unifying Off-Policy Corrections for LLM RL",
        arXiv:2603.19470.
    """
    (hidden,) = floating(hidden=hidden)
    (log_scale,) = like(hidden, log_scale)
    return hidden + jnp.exp(log_scale) * jax.random.normal(key, hidden.shape, hidden.dtype)
