"""Advantages of the steps of a trajectory, by how sure the policy was at each. Results are constants."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean
from rlx.types import Scalar, elements, like


def entropy_modulated(
    advantage: Float[Array, "..."],
    entropy: Float[Array, "..."],
    *,
    scale: Scalar = 1.0,
    future_scale: Scalar = 1.0,
    bonus: Scalar = 0.05,
    center: bool = True,
    epsilon: Scalar = 1e-8,
    where: Bool[Array, "..."] | None = None,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Advantage of each step, larger where the policy was sure and where it leads to a step that is (EMPG).

    With h = (H − min H) / (max H − min H + epsilon) over all valid steps of the batch,
    A'_t = A · g_t + bonus · exp(−future_scale · h_{t+1}), g = exp(−scale · h) / (mean exp(−scale · h) + epsilon),
    without the second term where step t + 1 is not valid; then A' ← A' − mean A' if `center`. One step of
    extreme entropy sets the range of h for the whole batch.

    Args:
        advantage: advantage A of each trajectory [*batch], or of each of its steps [*batch, step].
        entropy: mean token entropy H of each step, under the policy that generated it [*batch, step].
        scale: how much more a step of low entropy counts.
        future_scale: how fast the bonus falls with the next step's entropy.
        bonus: largest bonus of a step, ζ in the paper.
        center: static; whether the mean over valid steps of the batch is taken off.
        epsilon: added to both divisors.
        where: boolean mask, True where a step counts.
        axis: static; the step axis.

    Returns:
        Advantages [*batch, step], without gradient, 0 where masked; every token of a step has its step's.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx import returns
        >>> advantage, entropy = jnp.array([1.0]), jnp.array([[0.2, 1.0, 0.2]])
        >>> print(np.asarray(returns.entropy_modulated(advantage, entropy, center=False)).round(3))
        [[1.285 0.516 1.267]]

    References:
        Wang et al., 2025, "Harnessing Uncertainty: Entropy-Modulated Policy Gradients for Long-Horizon LLM
        Agents", arXiv:2509.09265.
    """
    if jnp.ndim(advantage) == jnp.ndim(entropy) - 1:
        advantage = jnp.expand_dims(advantage, axis)
    advantage, entropy = lax.stop_gradient(elements(advantage=advantage, entropy=entropy, where=where))
    scale, future_scale, bonus, epsilon = like(entropy, scale, future_scale, bonus, epsilon)
    mask = jnp.broadcast_to(True if where is None else where, entropy.shape)

    lowest = jnp.min(entropy, where=mask, initial=jnp.inf)
    highest = jnp.max(entropy, where=mask, initial=-jnp.inf)
    relative = (entropy - lowest) / (highest - lowest + epsilon)
    confidence = jnp.exp(-scale * relative)
    gain = confidence / (mean(confidence, where=mask) + epsilon)
    clarity = jnp.where(mask, jnp.exp(-future_scale * relative), 0)
    ahead = lax.slice_in_dim(clarity, 1, None, axis=axis)
    ahead = jnp.concatenate([ahead, jnp.zeros_like(lax.slice_in_dim(clarity, 0, 1, axis=axis))], axis)

    modulated = advantage * gain + bonus * ahead
    return jnp.where(mask, modulated - mean(modulated, where=mask) if center else modulated, 0)
