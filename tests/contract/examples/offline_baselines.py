"""The baselines of offline reinforcement learning, and methods that share their parts."""

import jax

from tests.contract.example import SHAPE, Example, boolean, log_prob, normal, positive, real, uniform

ACTION = (*SHAPE, 3)
"""One action of three dimensions per element."""

ENSEMBLE = "an ensemble may have any size; tests/losses/value/test_temporal_difference.py checks the errors"
FLAGS = "gives boolean flags or row numbers beside the arrays"
DATASET = "queries and rows may have any number; tests/data/test_neighbors.py checks the errors"

EXAMPLES: dict[str, Example] = {
    "rlx.losses.value.ensemble_target": Example(
        {"reward": real, "discount": uniform(*SHAPE), "next_q": normal(3, *SHAPE)},
        variants=({}, {"aggregate": "max"}, {"aggregate": "mean"}),
        skips={"errors": ENSEMBLE},
    ),
    "rlx.losses.value.squared_td": Example({"q": real, "target": real}),
    "rlx.losses.value.expectile": Example({"value": real, "target": real}),
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
    "rlx.losses.policy.value_maximization": Example({"q": real}, variants=({}, {"alpha": 2.5})),
    "rlx.losses.policy.soft_value_maximization": Example({"log_prob": log_prob, "q": real}, {"temperature": 0.2}),
    "rlx.losses.imitation.behavior_cloning": Example({"log_prob": log_prob, "weight": positive}),
    "rlx.losses.generative.conditional_vae": Example(
        {
            "reconstruction": normal(*ACTION),
            "target": normal(*ACTION),
            "mean": normal(*SHAPE, 4),
            "log_std": normal(*SHAPE, 4, scale=0.5),
            "weight": positive,
        }
    ),
    "rlx.controllers.entropy_temperature_loss": Example(
        {"log_temperature": real, "log_prob": log_prob}, {"target_entropy": -3.0}
    ),
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
    "rlx.regularizers.representation.orthonormality": Example({"features": real}, mask=(4,)),
    "rlx.regularizers.smoothness.ensemble_gradient_diversity": Example(
        {"action_gradient": normal(4, 3, 2)}, {"axis": 1}, mask=(4,)
    ),
    "rlx.returns.return_to_go": Example({"reward": real}, variants=({}, {"axis": 1})),
    "rlx.weighting.advantage_weight": Example({"advantage": real}, variants=({}, {"kind": "relu"}, {"kind": "binary"})),
    "rlx.weighting.top_fraction": Example(
        {"episode_return": normal(6), "length": uniform(6, low=1, high=9)}, {"fraction": 0.4}
    ),
    "rlx.transforms.orthogonalize": Example({"forward": real, "backward": real}),
    "rlx.policies.target_policy_smoothing": Example(
        {"key": lambda rng: jax.random.key(int(rng.integers(100))), "action": uniform(*SHAPE, low=-1)}
    ),
    "rlx.diagnostics.normalized_score": Example({"episode_return": real}, {"minimum": -2.0, "maximum": 3.0}),
    "rlx.data.transitions": Example(
        {
            "trajectory_arrays": lambda rng: {"observation": normal(*SHAPE)(rng), "reward": normal(4)(rng)},
            "terminal": boolean(4),
            "timeout": boolean(4),
        },
        skips={"dtype": FLAGS},
    ),
    "rlx.data.normalize_states": Example({"states": real}, mask=(4,)),
    "rlx.data.nearest_neighbor": Example(
        {"query": normal(*SHAPE, 2), "keys": normal(7, 2)},
        variants=({}, {"k": 2, "chunk": 3}),
        skips={"dtype": FLAGS, "errors": DATASET},
    ),
}
