"""Group-based policy optimization on token sequences, and its supervised reformulations."""

import numpy as np

from tests.contract.example import SHAPE, Example, Sampler, boolean, log_prob, normal, positive, real, uniform


def outcome(*shape: int) -> Sampler:
    """Rewards in {0, 1}, with both of them along the last axis."""

    def sampler(rng: np.random.Generator) -> np.ndarray:
        reward = (rng.random(shape) < 0.5).astype(np.float32)
        reward[..., 0], reward[..., -1] = 1, 0
        return reward

    return sampler


BOTH = {"log_prob": log_prob, "behavior_log_prob": log_prob}
RATIO = {**BOTH, "advantage": real}
BOOLEAN = {"dtype": "gives booleans"}

EXAMPLES: dict[str, Example] = {
    "rlx.returns.beta_normalized": Example({"reward": uniform(*SHAPE)}, variants=({}, {"axis": 0})),
    "rlx.weighting.mixed_outcome": Example({"reward": outcome(*SHAPE)}, variants=({}, {"axis": 0}), skips=BOOLEAN),
    "rlx.weighting.performance_gate": Example({"reward": outcome(*SHAPE)}, variants=({}, {"axis": 0}), skips=BOOLEAN),
    "rlx.weighting.first_error_mask": Example({"score": uniform(*SHAPE)}, variants=({}, {"axis": 0}), skips=BOOLEAN),
    "rlx.weighting.cumulative_credit": Example({"score": real}, variants=({}, {"axis": 0})),
    "rlx.controllers.lagrange_multiplier": Example(
        {"violation": normal(6)}, {"step": 0.1}, init=uniform(6, low=0.5, high=2)
    ),
    "rlx.regularizers.divergence.squared_hinge": Example({"divergence": real}),
    "rlx.losses.policy.importance_weighted": Example(RATIO),
    "rlx.losses.policy.unified_gradient": Example(
        {"log_prob": log_prob, "denominator_log_prob": log_prob, "advantage": real}
    ),
    "rlx.losses.policy.mixed_policy": Example({**RATIO, "off_policy": boolean(*SHAPE)}),
    "rlx.losses.policy.ratio_variance": Example(RATIO, {"coefficient": 0.5}),
    "rlx.losses.policy.outcome_contrast": Example(
        {"log_prob": log_prob, "advantage": real, "correct": boolean(*SHAPE)}
    ),
    "rlx.losses.policy.discriminative": Example(
        {**BOTH, "reward": outcome(SHAPE[0])},
        variants=({}, {"score": "ratio"}),
    ),
    "rlx.losses.policy.implicit_actor_critic": Example(
        {**BOTH, "reward": outcome(SHAPE[0])},
        variants=({}, {"baseline": "group"}, {"baseline": "none", "class_balance": False}),
    ),
    "rlx.losses.preference.group_alignment": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob, "reward": outcome(*SHAPE)},
        variants=({}, {"axis": 0}),
    ),
    "rlx.losses.generative.normalized_log_ratio": Example(
        {**BOTH, "mean": normal(*SHAPE, 3), "behavior_mean": normal(*SHAPE, 3), "scale": positive},
    ),
    "rlx.losses.imitation.shaped_cross_entropy": Example(
        {"logits": real, "action": lambda rng: rng.integers(0, SHAPE[1], SHAPE[0]).astype(np.int32)},
        variants=({"top_k": 2}, {"top_k": 2, "head_reward": 0.1, "tail_reward": -0.1}),
        mask=SHAPE[:1],
    ),
}
