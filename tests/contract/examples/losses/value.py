"""Examples of the value losses."""

from tests.contract.example import SHAPE, Example, normal, per_row, real, uniform

ENSEMBLE = "an ensemble may have any size; tests/losses/value/test_temporal_difference.py checks the errors"

EXAMPLES: dict[str, Example] = {
    "rlx.losses.value.bernoulli_value": Example({"logit": real, "success_rate": uniform(*SHAPE)}),
    "rlx.losses.value.clipped_value": Example({"value": real, "behavior_value": real, "target": real}),
    "rlx.losses.value.conservative_q": Example(
        {"q": real, "random_q": normal(*SHAPE, 5), "policy_q": normal(*SHAPE, 3), "lower_bound": real},
        variants=({}, {"importance": False}, {"min_gap": 0.5, "max_gap": 2.0}),
    ),
    "rlx.losses.value.dice_value": Example(
        {
            "value": real,
            "next_value": real,
            "target_value": real,
            "target_next_value": real,
            "reward": real,
            "discount": uniform(*SHAPE),
        },
        variants=({}, {"divergence": "reverse_kl"}),
    ),
    "rlx.losses.value.ensemble_pessimism": Example({"x": real}, {"penalty": 0.5}, variants=({}, {"axis": 1})),
    "rlx.losses.value.ensemble_target": Example(
        {"reward": real, "discount": uniform(*SHAPE), "next_q": normal(3, *SHAPE)},
        variants=({}, {"aggregate": "max"}, {"aggregate": "mean"}),
        skips={"errors": ENSEMBLE},
    ),
    "rlx.losses.value.expectile": Example({"value": real, "target": real}),
    "rlx.losses.value.hybrid_value": Example(
        {"online_q": real, "online_return": real, "offline_q": per_row, "offline_target": per_row}
    ),
    "rlx.losses.value.squared_error": Example({"value": real, "target": real}),
    "rlx.losses.value.squared_td": Example({"q": real, "target": real}),
}
