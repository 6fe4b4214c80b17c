"""Examples of the representation regularizers."""

from tests.contract.example import ROWS, Example, normal, per_row, real, uniform

EXAMPLES: dict[str, Example] = {
    "rlx.regularizers.representation.bisimulation": Example(
        {
            "feature": real,
            "other_feature": real,
            "reward": per_row,
            "other_reward": per_row,
            "next_mean": normal(ROWS, 3),
            "other_next_mean": normal(ROWS, 3),
            "next_scale": uniform(ROWS, 3),
            "other_next_scale": uniform(ROWS, 3),
        },
        variants=({}, {"order": 1}),
        mask=(ROWS,),
    ),
    "rlx.regularizers.representation.contrastive_mutual_information": Example(
        {"positive": per_row, "negative": real, "log_weight": real}, mask=(ROWS,)
    ),
    "rlx.regularizers.representation.orthonormality": Example({"features": real}, mask=(4,)),
}
