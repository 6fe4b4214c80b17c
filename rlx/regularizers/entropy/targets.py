"""Penalties that hold an entropy at an anchor or in a band."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.reduce import mean, sequence_mean
from rlx.types import Scalar, check_choice, elements, floating, like


def anchored_entropy(
    entropy: Float[Array, "*#batch"],
    anchor: Scalar,
    *,
    coefficient: Scalar = 0.005,
    where: Bool[Array, "*#batch"] | None = None,
    axis: int = -1,
) -> Float[Array, ""]:
    """Squared distance of the mean entropy from an anchor: a bonus below it, a penalty above (SIREN).

    L = coefficient · (Ĥ − H₀)² with Ĥ = (1/N) Σ_i Σ_t m_it·H_it / Σ_t m_it, where a response without a valid
    token counts as 0. The square is of the mean of the whole batch, so that the result is a scalar, and the sum
    over micro-batches is not the same. SIREN: H from `nucleus_entropy`, m from `rlx.weighting.quantile_mask` of
    it, H₀ the first Ĥ of the run (`rlx.controllers.first_value`).

    Args:
        entropy: entropy H per token [*batch, token]; carries the gradient.
        anchor: the mean entropy H₀ to stay at, a scalar; a constant.
        coefficient: factor of the penalty.
        where: boolean mask m, True where a token counts.
        axis: static; the token axis.

    Returns:
        A scalar.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.regularizers import entropy
        >>> print(np.asarray(entropy.anchored_entropy(jnp.array([[1.0, 2.0]]), 1.0, coefficient=0.1)).round(4))
        0.025

    References:
        Jiang et al., 2025, "Rethinking Entropy Regularization in Large Reasoning Models", arXiv:2509.25133.
    """
    entropy, anchor = floating(entropy=entropy, anchor=anchor)
    average = sequence_mean(entropy, where=where, empty="count", axis=axis)
    (coefficient,) = like(average, coefficient)
    return coefficient * jnp.square(average - lax.stop_gradient(anchor))


def entropy_band_penalty(
    entropy: Float[Array, "..."],
    history: Float[Array, "..."],
    *,
    low: Scalar = 0.0,
    high: Scalar = 2.0,
    penalty: Scalar = 0.1,
    level: str = "token",
    kind: str = "indicator",
    where: Bool[Array, "..."] | None = None,
    axis: int = -1,
) -> Float[Array, "..."]:
    """Penalty on entropies outside a band around their mean over past rollouts (EPO).

    With H̄ the history, P = penalty · [not low·H̄ < H < high·H̄] (kind "indicator", the official code, whose
    gradient is 0) or P = penalty · (max(0, low·H̄ − H) + max(0, H − high·H̄)) (kind "hinge"). Level "sequence"
    tests the mean of H over the valid tokens and gives all of them its P. P = 0 where H̄ = 0, before any history.
    EPO adds it to the loss with λ·ζ·`rlx.controllers.two_phase_decay`.

    Args:
        entropy: entropy H per token [*batch, token]; only kind "hinge" has a gradient.
        history: mean entropy H̄ of past rollouts at the same turn [*batch], for example from
            `rlx.controllers.running_mean`; a constant.
        low: lower end of the band, as a multiple of H̄.
        high: upper end of the band.
        penalty: size of the penalty.
        level: static; "token" or "sequence".
        kind: static; "indicator" or "hinge".
        where: boolean mask, True where a token counts.
        axis: static; the token axis.

    Returns:
        Penalty per token [*batch, token], 0 where masked.

    Raises:
        ValueError: for an unknown `level` or `kind`, a non-floating array, a non-boolean `where`, or unfitting
            shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.regularizers import entropy
        >>> tokens, history, band = jnp.array([[0.5, 1.0, 3.0]]), jnp.array([1.0]), {"low": 0.8, "high": 1.2}
        >>> print(np.asarray(entropy.entropy_band_penalty(tokens, history, **band)).round(3))
        [[0.1 0.  0.1]]
        >>> print(np.asarray(entropy.entropy_band_penalty(tokens, history, **band, kind="hinge")).round(3))
        [[0.03 0.   0.18]]

    Reconstruction:
        kind "hinge" is our own differentiable form of the band. In the official code (WujiangXu/EPO) the
        penalty is the indicator, which shifts the logged loss and has no gradient.

    References:
        Xu et al., 2025, "EPO: Entropy-regularized Policy Optimization for LLM Agents Reinforcement Learning",
        arXiv:2509.22576.
    """
    check_choice("level", level, ("token", "sequence"))
    check_choice("kind", kind, ("indicator", "hinge"))
    entropy, history = elements(entropy=entropy, history=jnp.expand_dims(history, axis), where=where)
    history = lax.stop_gradient(history)
    low, high, penalty = like(entropy, low, high, penalty)
    if level == "sequence":
        average = jnp.expand_dims(mean(entropy, where=where, axis=axis), axis)
        entropy = jnp.broadcast_to(average, entropy.shape)
    below, above = low * history - entropy, entropy - high * history
    if kind == "hinge":
        outside = jax.nn.relu(below) + jax.nn.relu(above)
    else:
        outside = jnp.where((below < 0) & (above < 0), 0, jnp.ones_like(entropy))
    return jnp.where(history == 0, 0, penalty * outside)
