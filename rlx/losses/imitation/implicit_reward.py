"""Supervised fine-tuning as inverse reinforcement learning near a reference policy."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.regularizers.divergence.generators import f_conjugate
from rlx.types import Scalar, check_choice, elements, like

_UTILITIES: dict[str, tuple[Callable[[Array], Array], float | None]] = {
    "total_variation": (lambda x: x, None),
    # The conjugate over t ≥ 0 would saturate at x = 2, where IQ-Learn's turns round.
    "pearson": (lambda x: x - jnp.square(x) / 4, None),
    "squared_hellinger": (lambda x: -f_conjugate(-x, divergence="squared_hellinger"), -1.0),
    "reverse_kl": (lambda x: -f_conjugate(-x, divergence="reverse_kl"), None),
    "jensen_shannon": (lambda x: -f_conjugate(-x, divergence="jensen_shannon"), -math.log(2)),
}
"""The concave φ(x) = −f*(−x) of each divergence, f* the conjugate of its generator, and the pole of φ."""


def f_sft(
    log_prob: Float[Array, "*#batch"],
    reference_log_prob: Float[Array, "*#batch"],
    *,
    beta: Scalar = 1.0,
    divergence: str = "total_variation",
    where: Bool[Array, "*#batch"] | None = None,
    pole_distance: Scalar = 0.1,
) -> Float[Array, "*batch"]:
    """f-SFT: supervised fine-tuning that stops where a divergence to the expert is small, not going on for ever.

    L = −φ(x)/β with x = β·(log π − log π_ref) and φ(x) = x (total_variation), x − x²/4 (pearson), x/(1 + x)
    (squared_hellinger), −e^(−(x+1)) (reverse_kl), log(2 − e^(−x)) (jensen_shannon). The weight on −∇log π is φ′(x):
    1 for total_variation, which is ordinary SFT; 1 − x/2 for pearson, which turns round at x = 2; and all but
    reverse_kl, e^(−1), have weight 1 at π = π_ref. squared_hellinger and jensen_shannon have a pole at x = −1 and
    −log 2: nearer than `pole_distance` to it φ goes on as its tangent, concave and finite. Per token, with
    β ≤ 1: log-ratios of sequences are far outside of the range in which φ bends.

    Args:
        log_prob: log-probability of the expert's token or response [*batch]; carries the gradient.
        reference_log_prob: the same under the reference policy, at which fine-tuning started; a constant.
        beta: strength β of the KL regularization to the reference.
        divergence: static; "total_variation", "pearson", "squared_hellinger", "reverse_kl" or "jensen_shannon".
        where: boolean mask, True where an element counts.
        pole_distance: how near to its pole φ is followed.

    Returns:
        Loss per element, 0 where masked.

    Raises:
        ValueError: for an unknown `divergence`, a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from rlx.losses import imitation
        >>> gradient = jax.grad(lambda x, kind: imitation.f_sft(x, jnp.full(3, -2.0), divergence=kind).sum())
        >>> log_prob = jnp.array([-2.0, -1.0, -0.5])
        >>> print(gradient(log_prob, "total_variation"), gradient(log_prob, "pearson"))
        [-1. -1. -1.] [-1.   -0.5  -0.25]

    Reconstruction:
        The paper's objectives were not available to us. This rests on its abstract, on the implicit reward
        r = β·log(π/π_ref) of a KL-regularized policy, and on the concave utilities φ of IQ-Learn; at which level
        the paper takes the ratio, and what it does with the value of the first state, we do not know. The
        tangent at the poles is ours.

    References:
        Wang et al., 2025, "Implicit Reward as the Bridge: A Unified View of SFT and DPO Connections",
        arXiv:2507.00018.
        Garg et al., 2021, "IQ-Learn: Inverse soft-Q Learning for Imitation", arXiv:2106.12142.
    """
    check_choice("divergence", divergence, tuple(_UTILITIES))
    log_prob, reference_log_prob = elements(log_prob=log_prob, reference_log_prob=reference_log_prob, where=where)
    beta, pole_distance = like(log_prob, beta, pole_distance)
    utility, pole = _UTILITIES[divergence]
    x = beta * (log_prob - lax.stop_gradient(reference_log_prob))
    loss = -_with_tangent(utility, x, pole + pole_distance) / beta if pole else -utility(x) / beta
    return loss if where is None else jnp.where(where, loss, 0)


def _with_tangent(function: Callable[[Array], Array], x: Array, start: Array) -> Array:
    """function(x), and below `start` its tangent there."""
    _, slope = jax.jvp(function, (start,), (jnp.ones_like(start),))
    return function(jnp.maximum(x, start)) + slope * jnp.minimum(x - start, 0)
