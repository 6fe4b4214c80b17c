"""Preference optimization, method by method: each paper as a loss on pairs.

`make_method("simpo", margin=1.0)` is a function of a policy's log-probabilities; the names of its arguments say whether
it needs a reference, lengths or responses to other prompts. `rlx methods` prints the table.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rlx.recipes.language_methods import table
from rlx.recipes.language_methods.table import Entry, chosen

TRL = "huggingface/trl"


def dpo(
    *,
    beta: float = 0.1,
    link: str = "logistic",
    divergence: str = "reverse_kl",
    alpha: float = 0.5,
    margin: float = 0.0,
    sft_weight: float = 0.0,
) -> Callable:
    """The likelihood of preferences under the implicit reward, with a link, a divergence and a margin to choose."""
    from rlx.losses import preference

    options = dict(beta=beta, link=link, divergence=divergence, alpha=alpha, margin=margin, sft_weight=sft_weight)
    return partial(preference.dpo, **options)


def f_dpo(*, beta: float = 0.1, divergence: str = "jensen_shannon", alpha: float = 0.5) -> Callable:
    """DPO by another divergence than the reverse KL."""
    return dpo(beta=beta, divergence=divergence, alpha=alpha)


def chi_po(*, beta: float = 0.1) -> Callable:
    """DPO by χ² and the reverse KL together, which does not trust rare responses; without the paper's clipping."""
    return dpo(beta=beta, divergence="chi_mixed")


def cdpo(*, beta: float = 0.1, flip_rate: float = 0.1) -> Callable:
    """DPO with smoothed labels: this share of the pairs may be the wrong way round."""
    from rlx.losses import preference

    return partial(preference.dpo, beta=beta, label=1 - flip_rate)


def robust_dpo(*, beta: float = 0.1, flip_rate: float = 0.1) -> Callable:
    """DPO unbiased by this share of pairs that are the wrong way round."""
    from rlx.losses import preference

    return partial(preference.robust_dpo, beta=beta, flip_rate=flip_rate)


def ipo(*, beta: float = 0.1, per_token: bool = False) -> Callable:
    """The log-ratios' difference regressed on 1/(2β); per token as in the code behind the published results."""
    from rlx.losses import preference

    if not per_token:
        return partial(preference.ipo, beta=beta)

    def loss(
        chosen_log_prob,
        rejected_log_prob,
        reference_chosen_log_prob,
        reference_rejected_log_prob,
        chosen_length,
        rejected_length,
    ):
        return preference.ipo(
            chosen_log_prob,
            rejected_log_prob,
            reference_chosen_log_prob,
            reference_rejected_log_prob,
            chosen_length=chosen_length,
            rejected_length=rejected_length,
            beta=beta,
        )

    return loss


def kto(*, beta: float = 0.1, desirable_weight: float = 1.0, undesirable_weight: float = 1.0) -> Callable:
    """Each response for itself, against the divergence that responses to other prompts tell."""
    from rlx.losses import preference

    weights = dict(desirable_weight=desirable_weight, undesirable_weight=undesirable_weight)
    return partial(preference.kto, beta=beta, **weights)


def sppo(*, beta: float = 0.001) -> Callable:
    """Each response's log-ratio regressed on its win rate."""
    from rlx.losses import preference

    return partial(preference.sppo, beta=beta)


def dno(*, beta: float = 0.1) -> Callable:
    """The log-ratios' difference regressed on that of the win rates."""
    from rlx.losses import preference

    return partial(preference.dno, eta=beta)


def rpo(*, beta: float = 0.01, eta: float = 0.005) -> Callable:
    """DPO plus the likelihood of the chosen response."""
    from rlx.losses import preference

    return partial(preference.rpo, beta=beta, eta=eta)


def vpo(*, beta: float = 0.1, alpha: float = 0.01) -> Callable:
    """DPO plus the likelihood of the pairs' responses, pessimistic about all others."""
    from rlx.losses import preference

    return partial(preference.vpo, beta=beta, alpha=alpha, sign=-1.0)


def simpo(*, beta: float = 2.0, margin: float = 0.5) -> Callable:
    """Log-probabilities per token as rewards, with a margin."""
    from rlx.losses import preference

    return partial(preference.simpo, beta=beta, margin=margin)


def cpo(*, beta: float = 0.1, sft_weight: float = 1.0) -> Callable:
    """DPO with a uniform reference, plus the likelihood of the chosen response."""
    return _semantic("cpo", beta=beta, sft_weight=sft_weight)


def orpo(*, beta: float = 0.1) -> Callable:
    """The chosen response's likelihood per token plus β times the odds ratio of both."""
    from rlx.losses import preference

    win, lose = preference.SEMANTICS["orpo"]

    def loss(chosen_log_prob, rejected_log_prob, chosen_length, rejected_length):
        chosen, rejected = chosen_log_prob / chosen_length, rejected_log_prob / rejected_length
        return beta * preference.semantic_preference_loss(chosen, rejected, win=win, lose=lose) - chosen

    return loss


def unlikelihood(*, beta: float = 1.0) -> Callable:
    """The chosen response valid and the rejected one not, as a statement of logic."""
    return _semantic("unlikelihood", beta=beta, sft_weight=0.0)


def slic(*, beta: float = 1.0, sft_weight: float = 0.1) -> Callable:
    """A hinge on the log-probabilities' difference, plus the likelihood of the chosen response."""
    from rlx.losses import preference

    def loss(chosen_log_prob, rejected_log_prob):
        margin = beta * (chosen_log_prob - rejected_log_prob)
        return preference.pair_loss(margin, link="hinge") - sft_weight * chosen_log_prob

    return loss


def rrpo(*, beta: float = 0.1, alpha: float = 0.01) -> Callable:
    """DPO on the tokens by which responses differ, place by place, plus a divergence of the chosen one's tokens."""
    from rlx.losses import preference

    def loss(
        chosen_token_log_prob,
        rejected_token_log_prob,
        reference_chosen_token_log_prob,
        reference_rejected_token_log_prob,
        chosen_kl,
        chosen_span,
        rejected_span,
        chosen_where,
    ):
        return preference.rrpo(
            chosen_token_log_prob,
            rejected_token_log_prob,
            reference_chosen_token_log_prob,
            reference_rejected_token_log_prob,
            chosen_kl,
            chosen_span=chosen_span,
            rejected_span=rejected_span,
            where=chosen_where,
            beta=beta,
            alpha=alpha,
        )

    return loss


def _semantic(name: str, *, beta: float, sft_weight: float) -> Callable:
    """A statement of logic about two responses, plus the likelihood of the chosen one per token."""
    from rlx.losses import preference

    win, lose = preference.SEMANTICS[name]

    def loss(chosen_log_prob, rejected_log_prob):
        return preference.semantic_preference_loss(
            chosen_log_prob, rejected_log_prob, win=win, lose=lose, beta=beta
        ) - (sft_weight * chosen_log_prob)

    return loss


METHODS: dict[str, Entry] = {
    "dpo": Entry(
        dpo,
        "reference",
        "Rafailov et al., 2023, arXiv:2305.18290",
        chosen(paper="beta link divergence margin sft_weight", ours="alpha"),
    ),
    "f_dpo": Entry(
        f_dpo,
        "reference, divergence",
        "Wang et al., 2023, arXiv:2309.16240",
        chosen(code="beta", ours="divergence alpha"),
        TRL,
    ),
    "chi_po": Entry(chi_po, "reference, divergence", "Huang et al., 2024, arXiv:2407.13399", chosen(ours="beta")),
    "cdpo": Entry(cdpo, "reference, label", "Mitchell, 2023", chosen(code="beta", ours="flip_rate"), TRL),
    "robust_dpo": Entry(
        robust_dpo,
        "reference, label",
        "Ray Chowdhury et al., 2024, arXiv:2403.00409",
        chosen(code="beta", ours="flip_rate"),
        TRL,
    ),
    "ipo": Entry(
        ipo, "reference, link", "Azar et al., 2023, arXiv:2310.12036", chosen(paper="per_token", code="beta"), TRL
    ),
    "kto": Entry(
        kto,
        "reference, single responses",
        "Ethayarajh et al., 2024, arXiv:2402.01306",
        chosen(code="beta desirable_weight undesirable_weight"),
        TRL,
    ),
    "sppo": Entry(
        sppo, "reference, single responses, win rates", "Wu et al., 2024, arXiv:2405.00675", chosen(paper="beta")
    ),
    "dno": Entry(dno, "reference, win rates", "Rosset et al., 2024, arXiv:2404.03715", chosen(ours="beta")),
    "rpo": Entry(
        rpo,
        "reference, likelihood",
        "Liu et al., 2024, arXiv:2405.16436",
        chosen(code="beta eta"),
        "YSLIU627/Regularized-Preference-Optimization",
    ),
    "vpo": Entry(
        vpo, "reference, likelihood", "Cen et al., 2024, arXiv:2405.19320", chosen(code="beta", ours="alpha"), TRL
    ),
    "rrpo": Entry(
        rrpo,
        "reference, tokens, divergence",
        "Sarkar and Etemad, 2025, arXiv:2504.12083",
        chosen(code="beta alpha"),
        "pritamqu/RRPO",
    ),
    "simpo": Entry(
        simpo,
        "no reference, lengths, margin",
        "Meng et al., 2024, arXiv:2405.14734",
        chosen(code="beta margin"),
        "princeton-nlp/SimPO",
    ),
    "cpo": Entry(
        cpo, "no reference, likelihood", "Xu et al., 2024, arXiv:2401.08417", chosen(code="beta sft_weight"), TRL
    ),
    "orpo": Entry(
        orpo, "no reference, lengths, odds, likelihood", "Hong et al., 2024, arXiv:2403.07691", chosen(code="beta"), TRL
    ),
    "slic": Entry(
        slic, "no reference, link, likelihood", "Zhao et al., 2023, arXiv:2305.10425", chosen(ours="beta sft_weight")
    ),
    "unlikelihood": Entry(
        unlikelihood, "no reference, odds", "Welleck et al., 2019, arXiv:1908.04319", chosen(ours="beta")
    ),
}
"""Every method by its name on the command line."""


def make_method(name: str, **options: Any) -> Callable:
    """A method of the table, with some of its hyperparameters changed.

    Raises:
        ValueError: there is no such method, it has no such hyperparameter, or one has an impossible value.
    """
    return table.make(METHODS, name, options)
