"""Ratio and entropy control of group-relative policy optimization."""

import jax
import numpy as np

from tests.contract.example import SHAPE, Example, Sampler, boolean, log_prob, normal, positive, real, uniform


def integers(*shape: int, high: int) -> Sampler:
    return lambda rng: rng.integers(high, size=shape)


def key(rng: np.random.Generator) -> jax.Array:
    return jax.random.key(rng.integers(2**16))


SURROGATE = {"log_prob": log_prob, "behavior_log_prob": log_prob, "advantage": real}
NOT_FLOATING = {"dtype": "its arguments and its result have no floating dtype to keep"}

EXAMPLES: dict[str, Example] = {
    "rlx.losses.policy.hazard_modulated_surrogate": Example(SURROGATE),
    "rlx.losses.policy.clip_cov": Example(
        {"key": key, **SURROGATE}, variants=({}, {"fraction": 0.3, "lower": -0.2, "upper": 0.9})
    ),
    "rlx.losses.policy.kl_cov": Example(SURROGATE, variants=({}, {"fraction": 0.3})),
    "rlx.diagnostics.advantage_covariance": Example({"log_prob": log_prob, "advantage": real}),
    "rlx.diagnostics.outcome_entropy": Example(
        {"outcome": integers(*SHAPE, high=3)}, variants=({}, {"axis": 0}), skips=NOT_FLOATING
    ),
    "rlx.diagnostics.pass_at_k": Example({"correct": boolean(*SHAPE)}, {"k": 2.0}, skips=NOT_FLOATING),
    "rlx.diagnostics.majority_at_k": Example(
        {"answer": integers(*SHAPE, high=3), "correct": boolean(*SHAPE)},
        variants=({"k": 2}, {"k": 3, "axis": 0}),
        skips=NOT_FLOATING,
    ),
    "rlx.diagnostics.entropy_law": Example({"entropy": positive, "a": uniform(4, 1), "b": uniform(4, 1)}),
    "rlx.diagnostics.fit_entropy_law": Example({"entropy": positive, "performance": real}),
    "rlx.returns.entropy_modulated": Example(
        {"advantage": real, "entropy": positive}, variants=({}, {"center": False, "axis": 0})
    ),
    "rlx.returns.global_local": Example({"reward": real, "outcome": integers(*SHAPE, high=3)}),
    "rlx.returns.amplified": Example({"reward": normal(*SHAPE)}, variants=({}, {"baseline": "logavgexp", "axis": 0})),
    "rlx.returns.target_distribution_advantage": Example(
        {"advantage": normal(4), "success": boolean(4), "behavior_log_prob": log_prob, "target_log_prob": log_prob},
        {"entropy": 0.45},
    ),
    "rlx.weighting.suffix_mask": Example(
        {"pivot": integers(4, high=3)},
        skips=NOT_FLOATING,
    ),
    "rlx.weighting.diversity_softmax": Example(
        {"diversity": uniform(*SHAPE), "success": boolean(*SHAPE)}, variants=({}, {"axis": 0})
    ),
    "rlx.rewards.embedding_novelty": Example({"embedding": normal(4, 6, 3)}, variants=({}, {"axis": 0})),
    "rlx.rewards.unique_feature_rate": Example({"present": boolean(4, 6, 5)}, skips=NOT_FLOATING),
    "rlx.rewards.gated_bonus": Example({"reward": real, "diversity": uniform(*SHAPE), "success": boolean(*SHAPE)}),
    "rlx.regularizers.entropy.sampled_negentropy": Example({"log_prob": log_prob, "behavior_log_prob": log_prob}),
    "rlx.policies.perturb": Example({"key": key, "hidden": real}, {"log_scale": -1.0}),
    "rlx.controllers.balanced_clip": Example(SURROGATE),
}
