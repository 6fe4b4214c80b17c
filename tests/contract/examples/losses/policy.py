"""Examples of the policy losses."""

from tests.contract.example import (
    BOTH,
    LEVELS,
    SHAPE,
    SURROGATE,
    Example,
    boolean,
    key,
    log_prob,
    normal,
    outcome,
    real,
)

EXAMPLES: dict[str, Example] = {
    "rlx.losses.policy.advantage_leftover": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob, "advantage": normal(SHAPE[0])},
        variants=({}, {"variant": "token"}, {"variant": "reference_free"}, {"variant": "kl", "kl_coefficient": 0.1}),
    ),
    "rlx.losses.policy.advantage_regression": Example(
        {"log_prob": log_prob, "behavior_log_prob": log_prob, "advantage": real},
        variants=({}, {"standardize": True}, {"standardize": True, "axis": 0}),
    ),
    "rlx.losses.policy.best_of_n": Example(
        {"log_prob": log_prob, "reward": real},
        {"negative_weight": 0.5},
        variants=({}, {"negatives": "sum", "axis": 0}, {"negatives": "worst"}),
    ),
    "rlx.losses.policy.balanced_surrogate": Example(SURROGATE),
    "rlx.losses.policy.clip_cov": Example(
        {"key": key, **SURROGATE}, variants=({}, {"fraction": 0.3, "lower": -0.2, "upper": 0.9})
    ),
    "rlx.losses.policy.clipped_surrogate": Example(
        {"log_prob": log_prob, "behavior_log_prob": log_prob, "advantage": real},
        variants=(*LEVELS, {"dual_clip": 3.0}),
    ),
    "rlx.losses.policy.constraint_target": Example(
        {"reference_log_prob": log_prob, "satisfied": boolean(*SHAPE)},
        skips={"extreme": "a violated constraint has the score -inf"},
    ),
    "rlx.losses.policy.copg": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob, "reward": real},
        variants=({}, {"form": "surrogate"}),
    ),
    "rlx.losses.policy.decoupled_clip": Example(
        {
            "log_prob": log_prob,
            "behavior_log_prob": log_prob,
            "proximal_log_prob": log_prob,
            "advantage": real,
        }
    ),
    "rlx.losses.policy.discriminative": Example(
        {**BOTH, "reward": outcome(SHAPE[0])},
        variants=({}, {"score": "ratio"}),
    ),
    "rlx.losses.policy.exponential_family_target": Example(
        {"reference_log_prob": log_prob, "feature": normal(*SHAPE, 3), "coefficient": normal(3)}
    ),
    "rlx.losses.policy.f_dpg": Example(
        {"log_prob": log_prob, "behavior_log_prob": log_prob, "target_log_score": log_prob},
        {"log_normalizer": 0.5, "baseline": 0.2},
        variants=({}, {"divergence": "forward_kl"}),
    ),
    "rlx.losses.policy.hazard_modulated_surrogate": Example(SURROGATE),
    "rlx.losses.policy.implicit_actor_critic": Example(
        {**BOTH, "reward": outcome(SHAPE[0])},
        variants=({}, {"baseline": "group"}, {"baseline": "none", "class_balance": False}),
    ),
    "rlx.losses.policy.importance_weighted": Example(SURROGATE),
    "rlx.losses.policy.kl_cov": Example(SURROGATE, variants=({}, {"fraction": 0.3})),
    "rlx.losses.policy.kl_target": Example({"reference_log_prob": log_prob, "reward": real}, {"beta": 0.5}),
    "rlx.losses.policy.log_normalizer": Example({"target_log_score": log_prob, "behavior_log_prob": log_prob}),
    "rlx.losses.policy.low_probability_surrogate": Example(
        {"log_prob": log_prob, "behavior_log_prob": log_prob, "advantage": real, "proxy_log_prob": log_prob},
        variants=({"fraction": 0.6}, {"fraction": 0.6, "clip_low": 0.2, "clip_high": 0.3}),
    ),
    "rlx.losses.policy.mixed_policy": Example({**SURROGATE, "off_policy": boolean(*SHAPE)}),
    "rlx.losses.policy.outcome_contrast": Example(
        {"log_prob": log_prob, "advantage": real, "correct": boolean(*SHAPE)}
    ),
    "rlx.losses.policy.policy_gradient": Example({"log_prob": log_prob, "advantage": real}),
    "rlx.losses.policy.ratio_variance": Example(SURROGATE, {"coefficient": 0.5}),
    "rlx.losses.policy.soft_value_maximization": Example({"log_prob": log_prob, "q": real}, {"temperature": 0.2}),
    "rlx.losses.policy.unified_gradient": Example(
        {"log_prob": log_prob, "denominator_log_prob": log_prob, "advantage": real}
    ),
    "rlx.losses.policy.value_maximization": Example({"q": real}, variants=({}, {"alpha": 2.5})),
}
