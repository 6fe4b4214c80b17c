"""Examples of the preference losses."""

import numpy as np

from rlx.losses.preference import SEMANTICS
from tests.contract.example import (
    DIVERGENCES,
    GIVES_NO_FLOATS,
    SHAPE,
    TAKES_NO_FLOATS,
    Example,
    boolean,
    integers,
    log_prob,
    normal,
    outcome,
    positive,
    real,
    uniform,
)


def semantics(name: str) -> dict:
    return dict(zip(("win", "lose"), SEMANTICS[name], strict=True))


def first_row(rng: np.random.Generator) -> np.ndarray:
    """A span that no mask of the contract test hides, because rejected tokens have a mask of their own."""
    return np.broadcast_to(np.arange(SHAPE[0])[:, None] == 0, SHAPE)


def length(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(3, 9, SHAPE)


QUADRUPLE = {
    "chosen_log_prob": log_prob,
    "rejected_log_prob": log_prob,
    "behavior_chosen_log_prob": log_prob,
    "behavior_rejected_log_prob": log_prob,
}
PAIR = {
    "chosen_log_prob": log_prob,
    "rejected_log_prob": log_prob,
    "reference_chosen_log_prob": log_prob,
    "reference_rejected_log_prob": log_prob,
}
SIDES = ("chosen_log_prob", "rejected_log_prob")
TOKEN_REWARDS = {
    "chosen_token_reward": real,
    "rejected_token_reward": real,
    "chosen_where": boolean(*SHAPE),
    "rejected_where": boolean(*SHAPE),
}
error = uniform(*SHAPE, high=0.01)
LINKS = tuple({"link": link} for link in ("hinge", "square", "exponential"))

EXAMPLES: dict[str, Example] = {
    "rlx.losses.preference.contrastive_token_reward": Example(
        {"better_log_prob": log_prob, "worse_log_prob": log_prob}
    ),
    "rlx.losses.preference.debiased_label": Example({"flip_rate": uniform(*SHAPE, high=0.4)}),
    "rlx.losses.preference.denoising_dpo": Example(
        {
            "chosen_error": error,
            "rejected_error": error,
            "reference_chosen_error": error,
            "reference_rejected_error": error,
        }
    ),
    "rlx.losses.preference.dno": Example({**QUADRUPLE, "chosen_reward": real, "rejected_reward": real}),
    "rlx.losses.preference.dpo": Example(
        PAIR,
        variants=({"rejected_beta": 0.2, "sft_weight": 0.1, "margin": 0.3}, *LINKS, {"divergence": "chi_mixed"}),
    ),
    "rlx.losses.preference.geometric_mixture": Example({"logits": real, "reference_logits": real}),
    "rlx.losses.preference.group_alignment": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob, "reward": outcome(*SHAPE)},
        variants=({}, {"axis": 0}),
    ),
    "rlx.losses.preference.implicit_reward": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob}, variants=({}, *DIVERGENCES)
    ),
    "rlx.losses.preference.inpo": Example(
        PAIR | {"behavior_chosen_log_prob": log_prob, "behavior_rejected_log_prob": log_prob}
    ),
    "rlx.losses.preference.ipo": Example(PAIR),
    "rlx.losses.preference.kto": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob, "desirable": boolean(*SHAPE), "kl": real}
    ),
    "rlx.losses.preference.margin_pairs": Example(
        {"reward": real},
        {"threshold": 0.3},
        skips=GIVES_NO_FLOATS,
    ),
    "rlx.losses.preference.nash_md_loss": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob, "win_rate": uniform(SHAPE[0])},
        variants=({}, {"level": "token"}),
    ),
    "rlx.losses.preference.pair_loss": Example({"margin": real}, variants=({}, *LINKS)),
    "rlx.losses.preference.robust_dpo": Example(PAIR),
    "rlx.losses.preference.rpo": Example(PAIR | {"baseline_log_prob": log_prob}),
    "rlx.losses.preference.rrpo": Example(
        PAIR | {"chosen_kl": positive, "chosen_span": boolean(*SHAPE), "rejected_span": first_row}
    ),
    "rlx.losses.preference.semantic_preference_loss": Example(
        {side: PAIR[side] for side in SIDES}, semantics("orpo"), variants=({}, semantics("cpo"))
    ),
    "rlx.losses.preference.seppo": Example(
        {
            "chosen_error": error,
            "sample_error": error,
            "reference_chosen_error": error,
            "reference_sample_error": error,
        },
        variants=({}, {"flip": "indicator"}),
    ),
    "rlx.losses.preference.simpo": Example(
        {"chosen_log_prob": log_prob, "rejected_log_prob": log_prob, "chosen_length": length, "rejected_length": length}
    ),
    "rlx.losses.preference.sppo": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob, "win_rate": uniform(*SHAPE)}
    ),
    "rlx.losses.preference.token_reward_regularizer": Example(
        {"margin": normal(4), **{side: PAIR[side] for side in SIDES}, **TOKEN_REWARDS}
    ),
    "rlx.losses.preference.treg": Example(PAIR | TOKEN_REWARDS),
    "rlx.losses.preference.visit_label": Example(
        {"chosen_visits": integers(*SHAPE, low=1, high=6), "rejected_visits": integers(*SHAPE, low=1, high=6)},
        skips=TAKES_NO_FLOATS,
    ),
    "rlx.losses.preference.vpo": Example(
        PAIR | {"calibration_log_prob": log_prob, "reference_calibration_log_prob": log_prob}
    ),
    "rlx.losses.preference.win_rate_reward": Example({"preference": uniform(*SHAPE)}),
}
