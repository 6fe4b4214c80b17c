"""Examples of the measures."""

from tests.contract.example import (
    GIVES_INTEGERS,
    SHAPE,
    TAKES_NO_FLOATS,
    TOKEN,
    Example,
    boolean,
    integers,
    key,
    log_prob,
    per_row,
    positive,
    real,
    uniform,
)

PRODUCTS = {"extreme": "ordinary weights are products of the ratios of all steps, which no float may hold"}

EXAMPLES: dict[str, Example] = {
    "rlx.diagnostics.action_gap": Example({"q": real}, variants=({}, {"axis": 0})),
    "rlx.diagnostics.advantage_covariance": Example({"log_prob": log_prob, "advantage": real}),
    "rlx.diagnostics.approximate_kl": Example({"log_prob": log_prob, "behavior_log_prob": log_prob}),
    "rlx.diagnostics.bandit_selection": Example(
        {"key": key, "score": real}, variants=({"num_pulls": 9}, {"num_pulls": 5, "num_policies": 2})
    ),
    "rlx.diagnostics.clip_fraction": Example({"log_prob": log_prob, "behavior_log_prob": log_prob}),
    "rlx.diagnostics.data_to_divergence": Example({"num_samples": positive, "kl": positive}),
    "rlx.diagnostics.differential_information": Example({"log_prob": log_prob, "reference_log_prob": log_prob}),
    "rlx.diagnostics.differential_information_entropy": Example({"log_prob": log_prob, "reference_log_prob": log_prob}),
    "rlx.diagnostics.doubly_robust": Example(
        {
            "log_prob": log_prob,
            "behavior_log_prob": log_prob,
            "reward": real,
            "q": real,
            "next_value": real,
            "initial_value": per_row,
        },
        variants=({}, {"weighted": False}),
        skips=PRODUCTS,
    ),
    "rlx.diagnostics.effective_sample_size": Example({"log_weight": real}, variants=({}, {"axis": 0})),
    "rlx.diagnostics.entropy_change": Example({**TOKEN, "baseline": real}, {"step_size": 0.1}),
    "rlx.diagnostics.entropy_discriminator": Example({"log_prob": log_prob, "entropy": positive}),
    "rlx.diagnostics.entropy_discriminator_baseline": Example({"logits": real}, variants=({}, {"axis": 0})),
    "rlx.diagnostics.entropy_law": Example({"entropy": positive, "a": uniform(4, 1), "b": uniform(4, 1)}),
    "rlx.diagnostics.explained_variance": Example({"value": real, "target": real}),
    "rlx.diagnostics.fit_entropy_law": Example({"entropy": positive, "performance": real}),
    "rlx.diagnostics.goodhart_curve": Example({"kl": positive, "score": real}, variants=({}, {"axis": 0})),
    "rlx.diagnostics.importance_sampling": Example(
        {"log_prob": log_prob, "behavior_log_prob": log_prob, "reward": real},
        variants=({}, {"weighted": False}, {"per_decision": False}),
        skips=PRODUCTS,
    ),
    "rlx.diagnostics.likelihood_displacement": Example(
        {
            "chosen_log_prob": log_prob,
            "rejected_log_prob": log_prob,
            "initial_chosen_log_prob": log_prob,
            "initial_rejected_log_prob": log_prob,
        }
    ),
    "rlx.diagnostics.majority_at_k": Example(
        {"answer": integers(*SHAPE, high=3), "correct": boolean(*SHAPE)},
        variants=({"k": 2}, {"k": 3, "axis": 0}),
        skips=TAKES_NO_FLOATS,
    ),
    "rlx.diagnostics.normalized_score": Example({"episode_return": real}, {"minimum": -2.0, "maximum": 3.0}),
    "rlx.diagnostics.optimal_multiplicity": Example({"q": real}, variants=({}, {"axis": 0}), skips=GIVES_INTEGERS),
    "rlx.diagnostics.outcome_entropy": Example(
        {"outcome": integers(*SHAPE, high=3)}, variants=({}, {"axis": 0}), skips=TAKES_NO_FLOATS
    ),
    "rlx.diagnostics.pass_at_k": Example({"correct": boolean(*SHAPE)}, {"k": 2.0}, skips=TAKES_NO_FLOATS),
    "rlx.diagnostics.positive_sided_variance": Example({"episode_return": real}, variants=({}, {"axis": 0})),
    "rlx.diagnostics.preference_accuracy": Example({"chosen_reward": real, "rejected_reward": real}),
    "rlx.diagnostics.rank_consistency": Example(
        {"score": real, "other_score": real},
        variants=({}, {"kind": "spearman"}, {"kind": "top_order", "axis": 0}),
    ),
    "rlx.diagnostics.risk_coverage": Example({"score": real, "loss": positive}, variants=({}, {"axis": 0})),
    "rlx.diagnostics.selective_accuracy": Example({"score": real, "correct": boolean(*SHAPE)}, {"threshold": 0.2}),
    "rlx.diagnostics.state_action_coverage": Example(
        {"num_unique": integers(*SHAPE, low=2, high=90)},
        {"reference": 50.0},
        variants=({}, {"logarithmic": True}),
        skips=TAKES_NO_FLOATS,
    ),
    "rlx.diagnostics.trajectory_quality": Example({"episode_return": real}, {"minimum": -2.0, "maximum": 5.0}),
    "rlx.diagnostics.unique_state_action": Example(
        {"observation": uniform(30, 2), "action": integers(30, high=3)},
        {"bins": 4},
        skips=GIVES_INTEGERS,
    ),
    "rlx.diagnostics.unseen_mass": Example({"log_prob": log_prob, "seen": boolean(*SHAPE)}),
}
