"""Examples of the behavior regularizers."""

import jax.numpy as jnp

from tests.contract.example import ACTION, SEQUENCE, SHAPE, Example, log_prob, normal, positive, real

FREE_ROWS = "its two arrays may have different numbers of rows; tests/regularizers checks the errors"

EXAMPLES: dict[str, Example] = {
    "rlx.regularizers.behavior.action_distance": Example(
        {"action": normal(*ACTION), "behavior_action": normal(*ACTION), "weight": positive},
        variants=({}, {"reduce": "sum"}),
    ),
    "rlx.regularizers.behavior.advantage_guided": Example(
        {
            "action": normal(*ACTION),
            "behavior_action": normal(*ACTION),
            "candidate_action": normal(*ACTION),
            "behavior_q": real,
            "candidate_q": real,
            "value": real,
        }
    ),
    "rlx.regularizers.behavior.dataset_constraint": Example(
        {
            "observation": normal(*SHAPE, 2),
            "action": normal(*ACTION),
            "data_observation": normal(7, 2),
            "data_action": normal(7, 3),
        },
        variants=({}, {"k": 2, "chunk": 3}),
    ),
    "rlx.regularizers.behavior.kernel_log_density": Example(
        {"x": normal(3, 2), "data": normal(7, 2)}, variants=({}, {"chunk": 3}), skips={"errors": FREE_ROWS}
    ),
    "rlx.regularizers.behavior.likelihood_displacement": Example(
        {**SEQUENCE, "behavior_log_prob": log_prob},
        variants=({}, {"segment": jnp.array([1, 1, 2, 2, 3, 0]), "num_segments": 3}),
    ),
    "rlx.regularizers.behavior.out_of_distribution_cost": Example({"log_density": real}, {"threshold": -0.2}),
}
