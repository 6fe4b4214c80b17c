"""Regression to advantages, offline policy gradients, rewards and weights of responses, and their controllers."""

import numpy as np

from tests.contract.example import SHAPE, Example, Sampler, boolean, log_prob, normal, positive, real, uniform


def indices(*shape: int, below: int) -> Sampler:
    return lambda rng: rng.integers(0, below, shape).astype(np.int32)


COUNT = "gives an integer"
COUNTS = {"dtype": COUNT}

EXAMPLES: dict[str, Example] = {
    "rlx.losses.policy.advantage_regression": Example(
        {"log_prob": log_prob, "behavior_log_prob": log_prob, "advantage": real},
        variants=({}, {"standardize": True}, {"standardize": True, "axis": 0}),
    ),
    "rlx.losses.policy.advantage_leftover": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob, "advantage": normal(SHAPE[0])},
        variants=({}, {"variant": "token"}, {"variant": "reference_free"}, {"variant": "kl", "kl_coefficient": 0.1}),
    ),
    "rlx.losses.value.bernoulli_value": Example({"logit": real, "success_rate": uniform(*SHAPE)}),
    "rlx.curriculum.relative_difficulty": Example({"reward": real, "buffer_mean": normal(SHAPE[0])}),
    "rlx.weighting.duration": Example({"duration": positive}, variants=({}, {"axis": -1, "max_weight": 1.5})),
    "rlx.rewards.format_mixture": Example({"correct": uniform(*SHAPE), "formatted": uniform(*SHAPE)}),
    "rlx.rewards.effective_reward": Example({"reward": real, "weight": real}, variants=({}, {"axis": 0})),
    "rlx.rewards.partial_credit": Example({"score": real, "valid": boolean(*SHAPE), "marker": boolean(*SHAPE, 7)}),
    "rlx.rewards.history_length": Example({"length": positive, "history": positive, "correct": boolean(*SHAPE)}),
    "rlx.rewards.span_to_token": Example(
        {"score": real, "start": indices(*SHAPE, below=5), "end": indices(*SHAPE, below=9)}, {"length": 8}
    ),
    "rlx.rewards.kl_shaped": Example(
        {"reward": real, "log_prob": log_prob, "reference_log_prob": log_prob},
        {"coefficient": 0.2},
        variants=({}, {"kind": "k3"}),
    ),
    "rlx.rewards.improvement": Example({"return_after": real, "return_before": real}, variants=({"baseline": 0.3},)),
    "rlx.rewards.knockout": Example({"preference": uniform(*SHAPE, SHAPE[-1])}, skips=COUNTS),
    "rlx.controllers.proportional_kl": Example(
        {"kl": uniform(6, high=0.05)}, {"target": 0.02}, init=uniform(6, low=0.5, high=2)
    ),
    "rlx.controllers.best_length": Example(
        {"prompt": indices(*SHAPE, below=5), "length": positive, "correct": boolean(*SHAPE)},
        variants=({}, {"mode": "mean"}),
        init=uniform(5, low=0.5, high=2),
    ),
    "rlx.tabular.soft_policy_stability_bound": Example({"reward_gap": positive}, {"temperature": 0.5, "discount": 0.7}),
    "rlx.diagnostics.action_gap": Example({"q": real}, variants=({}, {"axis": 0})),
    "rlx.diagnostics.optimal_multiplicity": Example({"q": real}, variants=({}, {"axis": 0}), skips=COUNTS),
}
