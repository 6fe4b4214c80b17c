"""Examples of the rewards."""

import jax.numpy as jnp

from tests.contract.example import (
    GIVES_INTEGERS,
    SHAPE,
    TAKES_NO_FLOATS,
    Example,
    boolean,
    integers,
    log_prob,
    normal,
    positive,
    real,
    uniform,
)

PYTREE = "its argument is any pytree that the given function takes"

EXAMPLES: dict[str, Example] = {
    "rlx.rewards.combine_scores": Example({"self_score": real, "similarity": real}, variants=({}, {"scale": "z"})),
    "rlx.rewards.discriminative_reward_loss": Example({"same_reward": real, "different_reward": real}),
    "rlx.rewards.effective_reward": Example({"reward": real, "weight": real}, variants=({}, {"axis": 0})),
    "rlx.rewards.embedding_novelty": Example({"embedding": normal(4, 6, 3)}, variants=({}, {"axis": 0})),
    "rlx.rewards.format_mixture": Example({"correct": uniform(*SHAPE), "formatted": uniform(*SHAPE)}),
    "rlx.rewards.gated_bonus": Example({"reward": real, "diversity": uniform(*SHAPE), "success": boolean(*SHAPE)}),
    "rlx.rewards.history_length": Example({"length": positive, "history": positive, "correct": boolean(*SHAPE)}),
    "rlx.rewards.improvement": Example({"return_after": real, "return_before": real}, variants=({"baseline": 0.3},)),
    "rlx.rewards.kl_shaped": Example(
        {"reward": real, "log_prob": log_prob, "reference_log_prob": log_prob},
        {"coefficient": 0.2},
        variants=({}, {"kind": "k3"}),
    ),
    "rlx.rewards.knockout": Example({"preference": uniform(*SHAPE, SHAPE[-1])}, skips=GIVES_INTEGERS),
    "rlx.rewards.partial_credit": Example({"score": real, "valid": boolean(*SHAPE), "marker": boolean(*SHAPE, 7)}),
    "rlx.rewards.preference_reward": Example(
        {"reward_a": real, "reward_b": real, "label": integers(*SHAPE, low=-1, high=2)}
    ),
    "rlx.rewards.ranking_reward_loss": Example(
        {"reward": real, "rank": integers(*SHAPE, low=1, high=6)}, variants=({}, {"axis": 0})
    ),
    "rlx.rewards.reinforced_token_reward": Example(
        {
            "log_prob": log_prob,
            "reference_log_prob": log_prob,
            "preference_log_prob": log_prob,
            "reward": normal(SHAPE[0]),
        }
    ),
    "rlx.rewards.relabel": Example(
        {"observation": real},
        {"reward_fn": lambda s: jnp.stack([jnp.sum(s, -1), s[:, 0] * s[:, 1]])},
        variants=({}, {"normalize": False}),
        skips={"errors": PYTREE},
    ),
    "rlx.rewards.self_correction": Example({"first_reward": real, "second_reward": real}),
    "rlx.rewards.span_to_token": Example(
        {"score": real, "start": integers(*SHAPE, high=5), "end": integers(*SHAPE, high=9)}, {"length": 8}
    ),
    "rlx.rewards.unique_feature_rate": Example({"present": boolean(4, 6, 5)}, skips=TAKES_NO_FLOATS),
}
