"""Preference losses as statements of logic about which responses are valid; one value per pair."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rlx.losses.preference.pairwise import pair_loss
from rlx.types import Scalar, elements, like

SEMANTICS = {
    "cross_entropy": ((True, True, False, False), (False, False, True, True)),
    "cross_entropy_unlikelihood": ((False, True, False, False), (True, False, True, True)),
    "cpo": ((True, True, False, False), (True, False, True, False)),
    "orpo": ((False, True, False, False), (False, False, True, False)),
    "unlikelihood": ((False, True, False, True), (True, False, True, False)),
    "implication": ((True, True, False, True), (False, False, True, False)),
}
"""Worlds that (win, lose) of known losses, in the order (both valid, chosen only, rejected only, neither)."""

_LARGEST_LOG_PROB = -1e-7


def semantic_preference_loss(
    chosen_log_prob: Float[Array, "*#batch"],
    rejected_log_prob: Float[Array, "*#batch"],
    *,
    win: tuple[bool, bool, bool, bool],
    lose: tuple[bool, bool, bool, bool],
    beta: Scalar = 1.0,
    link: str = "logistic",
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Direct preference alignment (DPA) by logic: log-odds that a statement on two responses holds, through a link.

    Chosen and rejected response are valid independently, with p = π(y|x). A world says which of the two are
    valid, so the worlds weigh p_w·p_l, p_w·(1 − p_l), (1 − p_w)·p_l, (1 − p_w)·(1 − p_l), and
    L = ℓ(β·ρ), ρ = log Σ_{win} weight − log Σ_{lose} weight. A world may be in both sets, in one or in none.
    `SEMANTICS` has the tables of cross-entropy, CPO, ORPO and others. A reference policy multiplies the
    probabilities: the table "cpo" of log π(y_w) + log π_ref(y_l) and log π(y_l) + log π_ref(y_w) is `dpo`; a
    length divides them, as in `simpo`.

    Args:
        chosen_log_prob: log p_w of the chosen response [*batch], cut at −1e-7; carries the gradient.
        rejected_log_prob: log p_l of the rejected response, cut at −1e-7; carries the gradient.
        win: static; for each of the four worlds whether it makes the statement true.
        lose: static; for each of the four worlds whether it makes the statement false.
        beta: scale β of the log-odds.
        link: static; "logistic", "hinge", "square" or "exponential".
        where: boolean mask, True where a pair counts.

    Returns:
        Loss per pair, 0 where masked.

    Raises:
        ValueError: for tables that are not four booleans with a True among them, an unknown `link`, a
            non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> chosen, rejected = jnp.log(jnp.array([0.8, 0.5])), jnp.log(jnp.array([0.2, 0.5]))
        >>> win, lose = preference.SEMANTICS["orpo"]
        >>> print(np.asarray(preference.semantic_preference_loss(chosen, rejected, win=win, lose=lose)).round(3))
        [0.061 0.693]

    References:
        Richardson et al., 2024, "Understanding the Logic of Direct Preference Alignment through Logic",
        arXiv:2412.17696.

    Reconstruction:
        Weighted model counting over truth tables with a third and fourth value, from the abstract and the
        known method; it reproduces cross-entropy, unlikelihood, CPO, ORPO and, with a reference, DPO.
    """
    for name, worlds in (("win", win), ("lose", lose)):
        if len(worlds) != 4 or not any(worlds):
            raise ValueError(f"{name} must be four booleans, at least one of them True, got {worlds}")
    chosen, rejected = elements(chosen_log_prob=chosen_log_prob, rejected_log_prob=rejected_log_prob, where=where)
    chosen, rejected = (jnp.minimum(x, _LARGEST_LOG_PROB) for x in (chosen, rejected))
    not_chosen, not_rejected = _log_complement(chosen), _log_complement(rejected)
    weights = (chosen + rejected, chosen + not_rejected, not_chosen + rejected, not_chosen + not_rejected)
    log_odds = _log_total(weights, win) - _log_total(weights, lose)
    (beta,) = like(log_odds, beta)
    loss = pair_loss(beta * log_odds, link=link, beta=beta)
    return loss if where is None else jnp.where(where, loss, 0)


def _log_complement(log_prob: Array) -> Array:
    """log(1 − p), by whichever of two forms does not cancel."""
    near_one = log_prob > -math.log(2)
    high, low = jnp.where(near_one, log_prob, -1), jnp.where(near_one, -1, log_prob)
    return jnp.where(near_one, jnp.log(-jnp.expm1(high)), jnp.log1p(-jnp.exp(low)))


def _log_total(weights: tuple[Array, ...], worlds: tuple[bool, ...]) -> Array:
    return jax.nn.logsumexp(jnp.stack([weight for weight, counts in zip(weights, worlds, strict=True) if counts]), 0)
