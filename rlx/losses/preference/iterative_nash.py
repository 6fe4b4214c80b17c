"""Steps towards the Nash equilibrium of a general, possibly cyclic preference, learned from pairs."""

from jaxtyping import Array, Bool, Float

from rlx.losses.preference.pairwise import ipo
from rlx.types import Scalar, elements, like


def inpo(
    chosen_log_prob: Float[Array, "*#batch"],
    rejected_log_prob: Float[Array, "*#batch"],
    reference_chosen_log_prob: Float[Array, "*#batch"],
    reference_rejected_log_prob: Float[Array, "*#batch"],
    behavior_chosen_log_prob: Float[Array, "*#batch"],
    behavior_rejected_log_prob: Float[Array, "*#batch"],
    *,
    eta: Scalar = 0.002,
    tau_ratio: Scalar = 1 / 3,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Iterative Nash policy optimization: a step of mirror descent, as a regression on pairs.

    L = (h − 1/(2η))², h = log π(y_w)/π(y_l) − (τ/η)·log π_ref(y_w)/π_ref(y_l) − (1 − τ/η)·log π_t(y_w)/π_t(y_l).
    It is `ipo` with the geometric mixture of π_ref and π_t as reference and β = η; its exact minimizer is
    `rlx.tabular.inpo_step`. η divides: the target is 250 for the default, so half precision is not enough.

    Args:
        chosen_log_prob: log π(y_w|x), summed over the tokens of the response [*batch]; carries the gradient.
        rejected_log_prob: log π(y_l|x); carries the gradient.
        reference_chosen_log_prob: log π_ref(y_w|x); a constant.
        reference_rejected_log_prob: log π_ref(y_l|x); a constant.
        behavior_chosen_log_prob: log π_t(y_w|x) of the iterate that drew the pair; a constant.
        behavior_rejected_log_prob: log π_t(y_l|x); a constant.
        eta: inverse step size η.
        tau_ratio: τ/η, the share of π_ref in the mixture; 1 is `ipo`, 0 ignores π_ref.
        where: boolean mask, True where a pair counts.

    Returns:
        Loss per pair, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import preference
        >>> chosen, reference, previous = jnp.array([-8.0, -6.0]), jnp.full(2, -10.0), jnp.full(2, -9.0)
        >>> mixture = dict(eta=0.25, tau_ratio=0.5)
        >>> print(preference.inpo(chosen, reference, reference, reference, previous, reference, **mixture))
        [0.25 2.25]

    References:
        Zhang et al., 2024, "Iterative Nash Policy Optimization: Aligning LLMs with General Preferences via
        No-Regret Learning", arXiv:2407.00617.
        Liu et al., 2024, "COMAL: A Convergent Meta-Algorithm for Aligning LLMs with General Preferences",
        arXiv:2410.23223 (the default η and τ/η).
    """
    chosen, rejected, reference_chosen, reference_rejected, behavior_chosen, behavior_rejected = elements(
        chosen_log_prob=chosen_log_prob,
        rejected_log_prob=rejected_log_prob,
        reference_chosen_log_prob=reference_chosen_log_prob,
        reference_rejected_log_prob=reference_rejected_log_prob,
        behavior_chosen_log_prob=behavior_chosen_log_prob,
        behavior_rejected_log_prob=behavior_rejected_log_prob,
        where=where,
    )
    (tau_ratio,) = like(chosen, tau_ratio)
    mixed_chosen, mixed_rejected = (
        tau_ratio * reference + (1 - tau_ratio) * behavior
        for reference, behavior in ((reference_chosen, behavior_chosen), (reference_rejected, behavior_rejected))
    )
    return ipo(chosen, rejected, mixed_chosen, mixed_rejected, beta=eta, where=where)
