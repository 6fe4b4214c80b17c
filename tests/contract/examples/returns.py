"""Examples of the returns and advantages."""

from tests.contract.example import (
    SEQUENCE,
    SHAPE,
    Example,
    boolean,
    integers,
    log_prob,
    normal,
    positive,
    real,
    uniform,
)

EXAMPLES: dict[str, Example] = {
    "rlx.returns.amplified": Example({"reward": normal(*SHAPE)}, variants=({}, {"baseline": "logavgexp", "axis": 0})),
    "rlx.returns.beta_normalized": Example({"reward": uniform(*SHAPE)}, variants=({}, {"axis": 0})),
    "rlx.returns.confidence_penalty": Example(
        {**SEQUENCE, "reference_log_prob": log_prob}, variants=({}, {"normalize_length": True})
    ),
    "rlx.returns.entropy_modulated": Example(
        {"advantage": real, "entropy": positive}, variants=({}, {"center": False, "axis": 0})
    ),
    "rlx.returns.gae": Example(
        {
            "reward": real,
            "discount": uniform(*SHAPE),
            "value": real,
            "next_value": real,
            "truncation": boolean(*SHAPE),
        },
        variants=({}, {"axis": 1}),
    ),
    "rlx.returns.global_local": Example({"reward": real, "outcome": integers(*SHAPE, high=3)}),
    "rlx.returns.group_relative": Example(
        {"reward": real},
        variants=(
            {},
            {"center": "batch", "scale": "batch_std"},
            {"center": "none", "scale": "none"},
            {"axis": 0},
        ),
    ),
    "rlx.returns.return_to_go": Example({"reward": real}, variants=({}, {"axis": 1})),
    "rlx.returns.target_distribution_advantage": Example(
        {"advantage": normal(4), "success": boolean(4), "behavior_log_prob": log_prob, "target_log_prob": log_prob},
        {"entropy": 0.45},
    ),
}
