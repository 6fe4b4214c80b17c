"""Preference games, learning from scored responses, guided generation, and the measures of both."""

import jax
import numpy as np

from tests.contract.example import SHAPE, Example, Sampler, boolean, log_prob, normal, positive, real, uniform


def integer(*shape: int, low: int = 1, high: int = 6) -> Sampler:
    return lambda rng: rng.integers(low, high, shape).astype(np.int32)


def key(rng: np.random.Generator) -> jax.Array:
    return jax.random.key(rng.integers(2**31))


NO_FLOAT = "its result is a mask or an index, of one dtype and without gradient"
NOT_FLOAT = {"dtype": NO_FLOAT}
COUNTS = {"dtype": "takes counts, which have no floating dtype to keep"}
QUADRUPLE = {
    "chosen_log_prob": log_prob,
    "rejected_log_prob": log_prob,
    "behavior_chosen_log_prob": log_prob,
    "behavior_rejected_log_prob": log_prob,
}

EXAMPLES: dict[str, Example] = {
    "rlx.losses.policy.best_of_n": Example(
        {"log_prob": log_prob, "reward": real},
        {"negative_weight": 0.5},
        variants=({}, {"negatives": "sum", "axis": 0}, {"negatives": "worst"}),
    ),
    "rlx.losses.policy.copg": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob, "reward": real},
        variants=({}, {"form": "surrogate"}),
    ),
    "rlx.losses.policy.f_dpg": Example(
        {"log_prob": log_prob, "behavior_log_prob": log_prob, "target_log_score": log_prob},
        {"log_normalizer": 0.5, "baseline": 0.2},
        variants=({}, {"divergence": "forward_kl"}),
    ),
    "rlx.losses.policy.log_normalizer": Example({"target_log_score": log_prob, "behavior_log_prob": log_prob}),
    "rlx.losses.policy.kl_target": Example({"reference_log_prob": log_prob, "reward": real}, {"beta": 0.5}),
    "rlx.losses.policy.constraint_target": Example(
        {"reference_log_prob": log_prob, "satisfied": boolean(*SHAPE)},
        skips={"extreme": "a violated constraint has the score -inf"},
    ),
    "rlx.losses.policy.exponential_family_target": Example(
        {"reference_log_prob": log_prob, "feature": normal(*SHAPE, 3), "coefficient": normal(3)}
    ),
    "rlx.losses.imitation.f_sft": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob},
        variants=({}, {"divergence": "pearson"}, {"divergence": "squared_hellinger"}, {"divergence": "reverse_kl"}),
    ),
    "rlx.losses.imitation.privileged_distillation": Example(
        {
            "teacher_logits": normal(*SHAPE, 5),
            "student_logits": normal(*SHAPE, 5),
            "teacher_nll": uniform(SHAPE[0]),
            "student_nll": uniform(SHAPE[0]),
        },
        skips={"extreme": "its logits have a third axis; tests/losses/imitation has extreme ones"},
    ),
    "rlx.losses.preference.dno": Example({**QUADRUPLE, "chosen_reward": real, "rejected_reward": real}),
    "rlx.losses.preference.win_rate_reward": Example({"preference": uniform(*SHAPE)}),
    "rlx.losses.preference.margin_pairs": Example(
        {"reward": real},
        {"threshold": 0.3},
        skips=NOT_FLOAT,
    ),
    "rlx.losses.preference.nash_md_loss": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob, "win_rate": uniform(SHAPE[0])},
        variants=({}, {"level": "token"}),
    ),
    "rlx.losses.preference.geometric_mixture": Example({"logits": real, "reference_logits": real}),
    "rlx.losses.preference.visit_label": Example(
        {"chosen_visits": integer(*SHAPE), "rejected_visits": integer(*SHAPE)}, skips=COUNTS
    ),
    "rlx.rewards.combine_scores": Example({"self_score": real, "similarity": real}, variants=({}, {"scale": "z"})),
    "rlx.rewards.discriminative_reward_loss": Example({"same_reward": real, "different_reward": real}),
    "rlx.rewards.ranking_reward_loss": Example({"reward": real, "rank": integer(*SHAPE)}, variants=({}, {"axis": 0})),
    "rlx.rewards.reinforced_token_reward": Example(
        {
            "log_prob": log_prob,
            "reference_log_prob": log_prob,
            "preference_log_prob": log_prob,
            "reward": normal(SHAPE[0]),
        }
    ),
    "rlx.data.optimal_rejected_log_prob": Example(
        {"chosen_log_prob": log_prob, "target_log_prob": log_prob, "reference_log_prob": log_prob}
    ),
    "rlx.data.reward_augmented_pairs": Example(
        {"chosen_reward": normal(6), "rejected_reward": normal(6)},
        skips={"dtype": "gives indices and masks beside the goal; tests/data checks its dtype"},
    ),
    "rlx.data.same_policy_triplets": Example({"policy_id": integer(*SHAPE, high=4)}, skips=NOT_FLOAT),
    "rlx.data.reset_lengths": Example({"key": key, "length": integer(*SHAPE)}, {"probability": 0.7}, skips=NOT_FLOAT),
    "rlx.data.prefix_mask": Example({"length": integer(*SHAPE)}, {"horizon": 5}, skips=NOT_FLOAT),
    "rlx.curriculum.guided_mode": Example(
        {"key": key, "step": integer(*SHAPE)}, {"threshold": 0.7}, variants=({}, {"rule": "switch"}), skips=NOT_FLOAT
    ),
    "rlx.tabular.nash_md_step": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob, "preference": uniform(*SHAPE, SHAPE[1])},
        {"eta": 0.5, "tau": 0.3},
    ),
    "rlx.tabular.regularized_nash": Example(
        {"preference": uniform(*SHAPE, SHAPE[1]), "reference_log_prob": log_prob}, {"tau": 0.5, "iterations": 20}
    ),
    "rlx.tabular.puct": Example(
        {"value": real, "visits": integer(*SHAPE), "parent_visits": integer(*SHAPE), "prior": uniform(*SHAPE)}
    ),
    "rlx.tabular.length_penalized_prior": Example(
        {"log_prob_sum": uniform(*SHAPE, low=-5, high=-0.1), "length": integer(*SHAPE)}
    ),
    "rlx.diagnostics.preference_accuracy": Example({"chosen_reward": real, "rejected_reward": real}),
    "rlx.diagnostics.goodhart_curve": Example({"kl": positive, "score": real}, variants=({}, {"axis": 0})),
    "rlx.diagnostics.likelihood_displacement": Example(
        {
            "chosen_log_prob": log_prob,
            "rejected_log_prob": log_prob,
            "initial_chosen_log_prob": log_prob,
            "initial_rejected_log_prob": log_prob,
        }
    ),
    "rlx.diagnostics.unseen_mass": Example({"log_prob": log_prob, "seen": boolean(*SHAPE)}),
    "rlx.diagnostics.differential_information": Example({"log_prob": log_prob, "reference_log_prob": log_prob}),
    "rlx.diagnostics.differential_information_entropy": Example({"log_prob": log_prob, "reference_log_prob": log_prob}),
    "rlx.diagnostics.risk_coverage": Example({"score": real, "loss": positive}, variants=({}, {"axis": 0})),
    "rlx.diagnostics.selective_accuracy": Example({"score": real, "correct": boolean(*SHAPE)}, {"threshold": 0.2}),
}
