"""Preference learning from labels of which a known share is flipped."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rlx.losses.preference.pairwise import dpo
from rlx.types import Scalar, floating

_LARGEST_FLIP_RATE = 0.49


def debiased_label(flip_rate: Float[Array, "*batch"] | float) -> Float[Array, "*batch"]:
    """Label (rDPO's) under which a loss on noisy pairs has the mean of the loss on clean ones.

    p = (1 − ε)/(1 − 2ε), so that L_ε(m) = [(1 − ε)·ℓ(m) − ε·ℓ(−m)]/(1 − 2ε) averages to ℓ(m) over a flip of
    probability ε, for every link ℓ of `pair_loss`, and for reward models as well.

    Args:
        flip_rate: probability ε that a pair is given the wrong way round, cut to [0, 0.49].

    Returns:
        Label p ≥ 1; negative losses are correct.

    Raises:
        ValueError: for a non-floating array.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> print(np.asarray(preference.debiased_label(jnp.array([0.0, 0.1, 0.25]))).round(3))
        [1.    1.125 1.5  ]

    References:
        Ray Chowdhury et al., 2024, "Provably Robust DPO: Aligning Language Models with Noisy Feedback",
        arXiv:2403.00409.
        Natarajan et al., 2013, "Learning with Noisy Labels".
    """
    (flip_rate,) = floating(flip_rate=flip_rate)
    flip_rate = jnp.clip(flip_rate, 0, _LARGEST_FLIP_RATE)
    return (1 - flip_rate) / (1 - 2 * flip_rate)


def robust_dpo(
    chosen_log_prob: Float[Array, "*#batch"],
    rejected_log_prob: Float[Array, "*#batch"],
    reference_chosen_log_prob: Float[Array, "*#batch"],
    reference_rejected_log_prob: Float[Array, "*#batch"],
    *,
    beta: Scalar = 0.1,
    flip_rate: Scalar = 0.1,
    link: str = "logistic",
    divergence: str = "reverse_kl",
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Robust DPO (rDPO), unbiased when a known share of the pairs is given the wrong way round.

    L = [(1 − ε)·ℓ(m) − ε·ℓ(−m)]/(1 − 2ε), with m the margin of `dpo` and ℓ its link. The logistic loss falls
    linearly in a large margin instead of levelling off: stop early, or regularize.
    On a CPU the exponential and the logarithm of the link cost several times the memory traffic.

    Args:
        chosen_log_prob: log π(y_w|x), summed over the tokens of the response [*batch]; carries the gradient.
        rejected_log_prob: log π(y_l|x); carries the gradient.
        reference_chosen_log_prob: log π_ref(y_w|x); a constant.
        reference_rejected_log_prob: log π_ref(y_l|x); a constant.
        beta: strength β of the divergence.
        flip_rate: probability ε of a flipped pair, cut to [0, 0.49]; the variance grows as 1/(1 − 2ε)².
        link: static; "logistic", "hinge", "square" or "exponential".
        divergence: static; a name of `rlx.regularizers.divergence.f_derivative`.
        where: boolean mask, True where a pair counts.

    Returns:
        Loss per pair, 0 where masked.

    Raises:
        ValueError: for an unknown `link` or `divergence`, a non-floating array, a non-boolean `where`, or
            unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> chosen, rejected, reference = jnp.array([-8.0, -12.0]), jnp.array([-12.0, -8.0]), jnp.full(2, -10.0)
        >>> loss = preference.robust_dpo(chosen, rejected, reference, reference, beta=0.5, flip_rate=0.1)
        >>> print(np.asarray(loss).round(3), np.asarray((loss * jnp.array([0.9, 0.1])).sum()).round(3))
        [-0.123  2.377] 0.127
        >>> print(np.asarray(preference.dpo(chosen, rejected, reference, reference, beta=0.5)).round(3))
        [0.127 2.127]

    References:
        Ray Chowdhury et al., 2024, "Provably Robust DPO: Aligning Language Models with Noisy Feedback",
        arXiv:2403.00409.
    """
    return dpo(
        chosen_log_prob,
        rejected_log_prob,
        reference_chosen_log_prob,
        reference_rejected_log_prob,
        beta=beta,
        link=link,
        divergence=divergence,
        label=debiased_label(flip_rate),
        where=where,
    )
