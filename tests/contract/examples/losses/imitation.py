"""Examples of the imitation losses."""

import numpy as np

from tests.contract.example import SHAPE, Example, log_prob, normal, positive, real, uniform

EXAMPLES: dict[str, Example] = {
    "rlx.losses.imitation.behavior_cloning": Example({"log_prob": log_prob, "weight": positive}),
    "rlx.losses.imitation.f_sft": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob},
        variants=({}, {"divergence": "pearson"}, {"divergence": "squared_hellinger"}, {"divergence": "reverse_kl"}),
    ),
    "rlx.losses.imitation.privileged_distillation": Example(
        {
            "teacher_logits": normal(*SHAPE, 5),
            "student_logits": normal(*SHAPE, 5),
            "teacher_nll": uniform(SHAPE[0]),
            "student_nll": uniform(SHAPE[0]),
        },
        skips={"extreme": "its logits have a third axis; tests/losses/imitation has extreme ones"},
    ),
    "rlx.losses.imitation.self_evolution_target": Example({"action": real, "past_prediction": real}, {"alpha": 0.3}),
    "rlx.losses.imitation.shaped_cross_entropy": Example(
        {"logits": real, "action": lambda rng: rng.integers(0, SHAPE[1], SHAPE[0]).astype(np.int32)},
        variants=({"top_k": 2}, {"top_k": 2, "head_reward": 0.1, "tail_reward": -0.1}),
        mask=SHAPE[:1],
    ),
}
