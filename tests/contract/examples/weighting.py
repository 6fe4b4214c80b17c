"""Examples of the weights and masks."""

from tests.contract.example import (
    ANY_COUNTS,
    GIVES_BOOLEANS,
    LEVELS,
    SHAPE,
    TAKES_NO_FLOATS,
    TOKEN,
    Example,
    boolean,
    integers,
    key,
    log_prob,
    normal,
    outcome,
    positive,
    real,
    uniform,
)

EXAMPLES: dict[str, Example] = {
    "rlx.weighting.advantage_weight": Example({"advantage": real}, variants=({}, {"kind": "relu"}, {"kind": "binary"})),
    "rlx.weighting.cumulative_credit": Example({"score": real}, variants=({}, {"axis": 0})),
    "rlx.weighting.difficulty_kl_weight": Example({"advantage": real, "success_rate": uniform(*SHAPE)}),
    "rlx.weighting.diversity_softmax": Example(
        {"diversity": uniform(*SHAPE), "success": boolean(*SHAPE)}, variants=({}, {"axis": 0})
    ),
    "rlx.weighting.duration": Example({"duration": positive}, variants=({}, {"axis": -1, "max_weight": 1.5})),
    "rlx.weighting.entropy_discriminator_mask": Example(
        TOKEN, variants=({"threshold": 0.8}, {"threshold": 0.4, "max_fraction": 0.1}), skips=GIVES_BOOLEANS
    ),
    "rlx.weighting.excess_length_weight": Example(
        {"length": uniform(*SHAPE, low=10, high=90), "correct": boolean(*SHAPE)},
        variants=({"base": 1.1}, {"base": 1.1, "axis": 0}),
        skips=ANY_COUNTS,
    ),
    "rlx.weighting.extreme_mask": Example(
        {"score": real}, {"fraction": 0.4}, variants=({}, {"largest": False}), skips=GIVES_BOOLEANS
    ),
    "rlx.weighting.first_error_mask": Example(
        {"score": uniform(*SHAPE)}, variants=({}, {"axis": 0}), skips=GIVES_BOOLEANS
    ),
    "rlx.weighting.importance_log_ratio": Example(
        {"log_prob": log_prob, "behavior_log_prob": log_prob},
        variants=(*LEVELS, {"level": "prefix", "axis": 0}),
    ),
    "rlx.weighting.mixed_outcome": Example(
        {"reward": outcome(*SHAPE)}, variants=({}, {"axis": 0}), skips=GIVES_BOOLEANS
    ),
    "rlx.weighting.nucleus_threshold": Example({"logits": real}, {"top_p": 0.6}, variants=({}, {"axis": 0})),
    "rlx.weighting.performance_gate": Example(
        {"reward": outcome(*SHAPE)}, variants=({}, {"axis": 0}), skips=GIVES_BOOLEANS
    ),
    "rlx.weighting.quantile_mask": Example({"score": real}, variants=({}, {"axis": 0}), skips=GIVES_BOOLEANS),
    "rlx.weighting.random_mask": Example({"key": key}, {"count": 3.0}, skips=GIVES_BOOLEANS),
    "rlx.weighting.suffix_mask": Example(
        {"pivot": integers(4, high=3)},
        skips=TAKES_NO_FLOATS,
    ),
    "rlx.weighting.top_fraction": Example(
        {"episode_return": normal(6), "length": uniform(6, low=1, high=9)}, {"fraction": 0.4}
    ),
    "rlx.weighting.trajectory_weight": Example(
        {"episode_return": real, "length": integers(*SHAPE, low=1, high=9)}, variants=({}, {"rescale": False})
    ),
}
