"""Preference losses on pairs and single responses, their divergences and their helpers."""

import numpy as np

from rlx.losses.preference import SEMANTICS
from tests.contract.example import SHAPE, Example, boolean, log_prob, normal, positive, real, uniform

INDICES = "returns indices"
PYTREE = "its arguments are pytrees, of any dtype"
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


def semantics(name: str) -> dict:
    return dict(zip(("win", "lose"), SEMANTICS[name], strict=True))


def step(rng: np.random.Generator) -> np.ndarray:
    return np.asarray(rng.integers(100, 200))


def first_row(rng: np.random.Generator) -> np.ndarray:
    """A span that no mask of the contract test hides, because rejected tokens have a mask of their own."""
    return np.broadcast_to(np.arange(SHAPE[0])[:, None] == 0, SHAPE)


def length(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(3, 9, SHAPE)


DIVERGENCES = tuple({"divergence": name} for name in ("forward_kl", "jensen_shannon", "neyman", "alpha", "chi_mixed"))
LINKS = tuple({"link": link} for link in ("hinge", "square", "exponential"))

EXAMPLES: dict[str, Example] = {
    "rlx.regularizers.divergence.f_generator": Example({"log_ratio": real}, variants=({}, {"divergence": "alpha"})),
    "rlx.regularizers.divergence.f_derivative": Example({"log_ratio": real}, variants=({}, *DIVERGENCES)),
    "rlx.regularizers.divergence.f_conjugate": Example(
        {"x": uniform(*SHAPE, low=-2, high=0.5)},
        variants=({}, {"divergence": "forward_kl"}, {"divergence": "neyman"}, {"divergence": "alpha"}),
    ),
    "rlx.regularizers.divergence.generalized_jsd": Example({"logits": real, "target_logits": real}),
    "rlx.losses.preference.implicit_reward": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob}, variants=({}, *DIVERGENCES)
    ),
    "rlx.losses.preference.pair_loss": Example({"margin": real}, variants=({}, *LINKS)),
    "rlx.losses.preference.dpo": Example(
        PAIR,
        variants=({"rejected_beta": 0.2, "sft_weight": 0.1, "margin": 0.3}, *LINKS, {"divergence": "chi_mixed"}),
    ),
    "rlx.losses.preference.ipo": Example(PAIR),
    "rlx.losses.preference.simpo": Example(
        {"chosen_log_prob": log_prob, "rejected_log_prob": log_prob, "chosen_length": length, "rejected_length": length}
    ),
    "rlx.losses.preference.denoising_dpo": Example(
        {
            "chosen_error": error,
            "rejected_error": error,
            "reference_chosen_error": error,
            "reference_rejected_error": error,
        }
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
    "rlx.losses.preference.kto": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob, "desirable": boolean(*SHAPE), "kl": real}
    ),
    "rlx.losses.preference.sppo": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob, "win_rate": uniform(*SHAPE)}
    ),
    "rlx.losses.preference.rpo": Example(PAIR | {"baseline_log_prob": log_prob}),
    "rlx.losses.preference.vpo": Example(
        PAIR | {"calibration_log_prob": log_prob, "reference_calibration_log_prob": log_prob}
    ),
    "rlx.losses.preference.debiased_label": Example({"flip_rate": uniform(*SHAPE, high=0.4)}),
    "rlx.losses.preference.robust_dpo": Example(PAIR),
    "rlx.losses.preference.inpo": Example(
        PAIR | {"behavior_chosen_log_prob": log_prob, "behavior_rejected_log_prob": log_prob}
    ),
    "rlx.losses.preference.rrpo": Example(
        PAIR | {"chosen_kl": positive, "chosen_span": boolean(*SHAPE), "rejected_span": first_row}
    ),
    "rlx.losses.preference.contrastive_token_reward": Example(
        {"better_log_prob": log_prob, "worse_log_prob": log_prob}
    ),
    "rlx.losses.preference.token_reward_regularizer": Example(
        {"margin": normal(4), **{side: PAIR[side] for side in SIDES}, **TOKEN_REWARDS}
    ),
    "rlx.losses.preference.treg": Example(PAIR | TOKEN_REWARDS),
    "rlx.losses.preference.semantic_preference_loss": Example(
        {side: PAIR[side] for side in SIDES}, semantics("orpo"), variants=({}, semantics("cpo"))
    ),
    "rlx.diagnostics.rank_consistency": Example(
        {"score": real, "other_score": real},
        variants=({}, {"kind": "spearman"}, {"kind": "top_order", "axis": 0}),
    ),
    "rlx.controllers.preference_beta": Example(
        {"reward_gap": uniform(*SHAPE, high=3), "step": step}, {"start": 100.0, "stop": 300.0}
    ),
    "rlx.tabular.inpo_step": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob, "preference": uniform(4, 6, 6)},
        {"eta": 2.0, "tau": 0.5},
    ),
    "rlx.transforms.average_parameters": Example({"params": real, "other_params": real}, skips={"errors": PYTREE}),
    "rlx.transforms.soup": Example(
        {"params_stack": real, "weight": uniform(4, low=0.5, high=2)}, skips={"errors": PYTREE}
    ),
    "rlx.data.best_worst_pair": Example({"score": real}, variants=({}, {"axis": 0}), skips={"dtype": INDICES}),
}
