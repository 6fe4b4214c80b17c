"""Examples of the functions on datasets."""

from tests.contract.example import (
    GIVES_INTEGERS,
    GIVES_NO_FLOATS,
    SHAPE,
    Example,
    boolean,
    integers,
    key,
    log_prob,
    normal,
    real,
)

FLAGS = "gives boolean flags or row numbers beside the arrays"
DATASET = "queries and rows may have any number; tests/data/test_neighbors.py checks the errors"

EXAMPLES: dict[str, Example] = {
    "rlx.data.best_worst_pair": Example({"score": real}, variants=({}, {"axis": 0}), skips=GIVES_INTEGERS),
    "rlx.data.nearest_neighbor": Example(
        {"query": normal(*SHAPE, 2), "keys": normal(7, 2)},
        variants=({}, {"k": 2, "chunk": 3}),
        skips={"dtype": FLAGS, "errors": DATASET},
    ),
    "rlx.data.normalize_states": Example({"states": real}, mask=(4,)),
    "rlx.data.optimal_rejected_log_prob": Example(
        {"chosen_log_prob": log_prob, "target_log_prob": log_prob, "reference_log_prob": log_prob}
    ),
    "rlx.data.prefix_mask": Example({"length": integers(*SHAPE, low=1, high=6)}, {"horizon": 5}, skips=GIVES_NO_FLOATS),
    "rlx.data.reset_lengths": Example(
        {"key": key, "length": integers(*SHAPE, low=1, high=6)}, {"probability": 0.7}, skips=GIVES_NO_FLOATS
    ),
    "rlx.data.reward_augmented_pairs": Example(
        {"chosen_reward": normal(6), "rejected_reward": normal(6)},
        skips={"dtype": "gives indices and masks beside the goal; tests/data checks its dtype"},
    ),
    "rlx.data.same_policy_triplets": Example({"policy_id": integers(*SHAPE, low=1, high=4)}, skips=GIVES_NO_FLOATS),
    "rlx.data.transitions": Example(
        {
            "trajectory_arrays": lambda rng: {"observation": normal(*SHAPE)(rng), "reward": normal(4)(rng)},
            "terminal": boolean(4),
            "timeout": boolean(4),
        },
        skips={"dtype": FLAGS},
    ),
}
