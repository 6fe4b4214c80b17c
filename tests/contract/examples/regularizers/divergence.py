"""Examples of the divergences."""

from tests.contract.example import DIVERGENCES, SHAPE, Example, log_prob, positive, real, uniform

EXAMPLES: dict[str, Example] = {
    "rlx.regularizers.divergence.f_conjugate": Example(
        {"x": uniform(*SHAPE, low=-2, high=0.5)},
        variants=({}, {"divergence": "forward_kl"}, {"divergence": "neyman"}, {"divergence": "alpha"}),
    ),
    "rlx.regularizers.divergence.f_derivative": Example({"log_ratio": real}, variants=({}, *DIVERGENCES)),
    "rlx.regularizers.divergence.f_generator": Example({"log_ratio": real}, variants=({}, {"divergence": "alpha"})),
    "rlx.regularizers.divergence.generalized_jsd": Example({"logits": real, "target_logits": real}),
    "rlx.regularizers.divergence.kl_categorical": Example(
        {"logits": real, "reference_logits": real}, variants=({}, {"axis": 0})
    ),
    "rlx.regularizers.divergence.kl_estimate": Example(
        {"log_prob": log_prob, "reference_log_prob": log_prob},
        variants=({}, {"bound": 0.3}, {"kind": "k1"}, {"kind": "k2"}, {"kind": "abs"}),
    ),
    "rlx.regularizers.divergence.kl_gaussian": Example(
        {"mean": real, "std": positive, "reference_mean": real, "reference_std": positive},
        variants=({}, {"axis": 0}),
    ),
    "rlx.regularizers.divergence.squared_hinge": Example({"divergence": real}),
}
