"""What PPO needs, and the shared cores."""

import numpy as np

from rlx.controllers import MomentsState
from tests.contract.example import SHAPE, Example, Sampler, boolean, log_prob, normal, positive, real, uniform


def moments(*shape: int) -> Sampler:
    """Statistics of twelve elements."""
    return lambda rng: MomentsState(np.float32(12), normal(*shape)(rng), uniform(*shape, low=0.5, high=2)(rng))


LEVELS = tuple({"level": level} for level in ("token", "sequence", "sequence_mean", "prefix"))
PYTHON_NUMBERS = "takes and gives Python numbers, which are shapes of the program"
PYTREE = "its arguments are pytrees; tests/controllers checks the errors"

EXAMPLES: dict[str, Example] = {
    "rlx.reduce.mean": Example({"x": real}, variants=({}, {"axis": 0}, {"axis": (0, 1)})),
    "rlx.reduce.token_mean": Example({"x": real}),
    "rlx.reduce.sequence_mean": Example({"x": real}, variants=({}, {"inner": "sum"}, {"empty": "count"}, {"axis": 0})),
    "rlx.reduce.constant_length": Example({"x": real}, {"length": 8.0}),
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
    "rlx.returns.group_relative": Example(
        {"reward": real},
        variants=(
            {},
            {"center": "batch", "scale": "batch_std"},
            {"center": "none", "scale": "none"},
            {"axis": 0},
        ),
    ),
    "rlx.weighting.importance_log_ratio": Example(
        {"log_prob": log_prob, "behavior_log_prob": log_prob},
        variants=(*LEVELS, {"level": "prefix", "axis": 0}),
    ),
    "rlx.losses.policy.policy_gradient": Example({"log_prob": log_prob, "advantage": real}),
    "rlx.losses.policy.clipped_surrogate": Example(
        {"log_prob": log_prob, "behavior_log_prob": log_prob, "advantage": real},
        variants=(*LEVELS, {"dual_clip": 3.0}),
    ),
    "rlx.losses.policy.decoupled_clip": Example(
        {
            "log_prob": log_prob,
            "behavior_log_prob": log_prob,
            "proximal_log_prob": log_prob,
            "advantage": real,
        }
    ),
    "rlx.losses.value.squared_error": Example({"value": real, "target": real}),
    "rlx.losses.value.clipped_value": Example({"value": real, "behavior_value": real, "target": real}),
    "rlx.regularizers.entropy.categorical_entropy": Example({"logits": real}, variants=({}, {"axis": 0})),
    "rlx.regularizers.entropy.gaussian_entropy": Example({"log_std": real}, variants=({}, {"axis": 0})),
    "rlx.regularizers.divergence.kl_estimate": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob},
        variants=({}, {"bound": 0.3}, {"kind": "k1"}, {"kind": "k2"}, {"kind": "abs"}),
    ),
    "rlx.regularizers.divergence.kl_gaussian": Example(
        {"mean": real, "std": positive, "reference_mean": real, "reference_std": positive},
        variants=({}, {"axis": 0}),
    ),
    "rlx.regularizers.divergence.kl_categorical": Example(
        {"logits": real, "reference_logits": real}, variants=({}, {"axis": 0})
    ),
    "rlx.controllers.running_moments": Example({"x": normal(4, 6, scale=3, shift=2)}, init=normal(6), mask=(4,)),
    "rlx.controllers.update_moments": Example(
        {"state": moments(6), "x": normal(4, 6)}, mask=(4,), skips={"errors": PYTREE}
    ),
    "rlx.controllers.normalize": Example({"state": moments(6), "x": normal(4, 6)}, skips={"errors": PYTREE}),
    "rlx.controllers.denormalize": Example({"state": moments(6), "x": normal(4, 6)}, skips={"errors": PYTREE}),
    "rlx.controllers.running_return_scale": Example(
        {"reward": real, "done": boolean(*SHAPE)}, {"discount": 0.9}, init=normal(6)
    ),
    "rlx.controllers.adaptive_kl": Example(
        {"kl": uniform(6, high=0.05)}, {"target": 0.02}, init=uniform(6, low=0.5, high=2)
    ),
    "rlx.controllers.ewma_params": Example({"params": real}, {"decay": 0.9}, init=real),
    "rlx.controllers.scale_parallel_environments": Example(
        {},
        skips={check: PYTHON_NUMBERS for check in ("jit", "vmap", "sweep", "gradient", "dtype", "errors")},
    ),
    "rlx.diagnostics.explained_variance": Example({"value": real, "target": real}),
    "rlx.diagnostics.clip_fraction": Example({"log_prob": log_prob, "behavior_log_prob": log_prob}),
    "rlx.diagnostics.approximate_kl": Example({"log_prob": log_prob, "behavior_log_prob": log_prob}),
    "rlx.diagnostics.effective_sample_size": Example({"log_weight": real}, variants=({}, {"axis": 0})),
    "rlx.diagnostics.data_to_divergence": Example({"num_samples": positive, "kl": positive}),
}
