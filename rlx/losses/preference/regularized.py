"""Preference losses with a likelihood term that keeps them from over-optimizing; one value per pair."""

from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.losses.preference.pairwise import dpo
from rlx.types import Scalar, elements, like


def rpo(
    chosen_log_prob: Float[Array, "*#batch"],
    rejected_log_prob: Float[Array, "*#batch"],
    reference_chosen_log_prob: Float[Array, "*#batch"],
    reference_rejected_log_prob: Float[Array, "*#batch"],
    *,
    beta: Scalar = 0.01,
    eta: Scalar = 0.005,
    baseline_log_prob: Float[Array, "*#batch"] | None = None,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Regularized preference optimization: DPO plus the likelihood of a baseline policy's response.

    L = −log σ(β(ρ_w − ρ_l)) − η·β·log π(y₀|x), with ρ = log π − log π_ref and y₀ a response of the baseline
    policy, most often y_w. The second term is the closed form of an adversary that lowers rewards off the
    baseline. log π(y₀|x) is a sum over tokens, so η shrinks with the length of the responses; the variant with
    a mean over tokens and weight c is baseline_log_prob=chosen_log_prob/length, eta=c/β.
    On a CPU the exponential and the logarithm of the link cost several times the memory traffic.

    Args:
        chosen_log_prob: log π(y_w|x), summed over the tokens of the response [*batch]; carries the gradient.
        rejected_log_prob: log π(y_l|x); carries the gradient.
        reference_chosen_log_prob: log π_ref(y_w|x); a constant.
        reference_rejected_log_prob: log π_ref(y_l|x); a constant.
        beta: strength β of the divergence.
        eta: weight η of the baseline, relative to β; 0 is DPO.
        baseline_log_prob: log π(y₀|x); carries the gradient. None for y₀ = y_w.
        where: boolean mask, True where a pair counts.

    Returns:
        Loss per pair, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> log_prob = jnp.array([-10.0])
        >>> loss = lambda eta: preference.rpo(log_prob, log_prob, log_prob, log_prob, beta=0.1, eta=eta)
        >>> print(np.asarray(loss(0.0)).round(3), np.asarray(loss(0.5)).round(3))
        [0.693] [1.193]

    References:
        Liu et al., 2024, "Provably Mitigating Overoptimization in RLHF: Your SFT Loss is Implicitly an
        Adversarial Regularizer", arXiv:2405.16436.
    """
    baseline_log_prob = chosen_log_prob if baseline_log_prob is None else baseline_log_prob
    chosen, rejected, reference_chosen, reference_rejected, baseline = elements(
        chosen_log_prob=chosen_log_prob,
        rejected_log_prob=rejected_log_prob,
        reference_chosen_log_prob=reference_chosen_log_prob,
        reference_rejected_log_prob=reference_rejected_log_prob,
        baseline_log_prob=baseline_log_prob,
        where=where,
    )
    preference = dpo(chosen, rejected, reference_chosen, reference_rejected, beta=beta, where=where)
    beta, eta = like(chosen, beta, eta)
    return preference - eta * beta * baseline


def vpo(
    chosen_log_prob: Float[Array, "*#batch"],
    rejected_log_prob: Float[Array, "*#batch"],
    reference_chosen_log_prob: Float[Array, "*#batch"],
    reference_rejected_log_prob: Float[Array, "*#batch"],
    calibration_log_prob: Float[Array, "*#batch"],
    reference_calibration_log_prob: Float[Array, "*#batch"],
    *,
    beta: Scalar = 0.1,
    alpha: Scalar = 0.01,
    sign: Scalar = -1.0,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Value-incentivized preference optimization: optimism or pessimism without uncertainty estimates.

    L = −log σ(β(ρ_w − ρ_l)) + s·α·β·ρ_cal, with ρ = log π − log π_ref and y_cal ~ π_cal. s = +1 rewards high
    values, so it lowers the likelihood of calibration responses and explores: with y_cal ~ π_ref it is XPO,
    whose coefficient is αβ. s = −1 is pessimistic; with y_cal = y_w it is `rpo` with η = α, up to a constant.
    With s = +1 the loss has no lower bound, so α must be small.

    Args:
        chosen_log_prob: log π(y_w|x), summed over the tokens of the response [*batch]; carries the gradient.
        rejected_log_prob: log π(y_l|x); carries the gradient.
        reference_chosen_log_prob: log π_ref(y_w|x); a constant.
        reference_rejected_log_prob: log π_ref(y_l|x); a constant.
        calibration_log_prob: log π(y_cal|x), summed over tokens likewise; carries the gradient.
        reference_calibration_log_prob: log π_ref(y_cal|x); a constant.
        beta: strength β of the divergence.
        alpha: weight α of the value.
        sign: s, +1 for optimism (online), −1 for pessimism (offline).
        where: boolean mask, True where a pair counts.

    Returns:
        Loss per pair, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> x, calibration = jnp.full(1, -10.0), jnp.full(1, -8.0)
        >>> loss = lambda sign: preference.vpo(x, x, x, x, calibration, x, beta=0.5, alpha=0.1, sign=sign)
        >>> print(np.asarray(loss(1.0)).round(3), np.asarray(loss(-1.0)).round(3))
        [0.793] [0.593]

    References:
        Cen et al., 2024, "Value-Incentivized Preference Optimization: A Unified Approach to Online and Offline
        RLHF", arXiv:2405.19320.
        Xie et al., 2024, "Exploratory Preference Optimization: Harnessing Implicit Q*-Approximation for
        Sample-Efficient RLHF", arXiv:2405.21046 (s = +1, y_cal ~ π_ref).

    Reconstruction:
        Derived from the paper's objective, the reward's negative log-likelihood minus s·α times the optimal
        value, under its constraint that rewards have mean 0 under π_cal, which makes the value
        −β·E[ρ_cal]. It agrees with the XPO loss of huggingface/trl.
    """
    chosen, rejected, reference_chosen, reference_rejected, calibration, reference_calibration = elements(
        chosen_log_prob=chosen_log_prob,
        rejected_log_prob=rejected_log_prob,
        reference_chosen_log_prob=reference_chosen_log_prob,
        reference_rejected_log_prob=reference_rejected_log_prob,
        calibration_log_prob=calibration_log_prob,
        reference_calibration_log_prob=reference_calibration_log_prob,
        where=where,
    )
    preference = dpo(chosen, rejected, reference_chosen, reference_rejected, beta=beta, where=where)
    beta, alpha, sign = like(chosen, beta, alpha, sign)
    return preference + sign * alpha * beta * (calibration - lax.stop_gradient(reference_calibration))
