"""Examples of the entropies."""

from tests.contract.example import SHAPE, Example, log_prob, positive, real, uniform

EXAMPLES: dict[str, Example] = {
    "rlx.regularizers.entropy.anchored_entropy": Example(
        {"entropy": positive, "anchor": uniform()},
        variants=({}, {"axis": 0}),
        skips={"errors": "the anchor is a scalar, of which there is no unfitting shape"},
    ),
    "rlx.regularizers.entropy.categorical_entropy": Example({"logits": real}, variants=({}, {"axis": 0})),
    "rlx.regularizers.entropy.entropy_band_penalty": Example(
        {"entropy": positive, "history": uniform(SHAPE[0], low=0.4, high=0.8)},
        {"low": 1.5},
        variants=({}, {"kind": "hinge"}, {"kind": "hinge", "level": "sequence"}),
    ),
    "rlx.regularizers.entropy.gaussian_entropy": Example({"log_std": real}, variants=({}, {"axis": 0})),
    "rlx.regularizers.entropy.nucleus_entropy": Example(
        {"logits": real}, variants=({}, {"top_p": 0.6, "include_boundary": True, "axis": 0})
    ),
    "rlx.regularizers.entropy.sampled_negentropy": Example({"log_prob": log_prob, "behavior_log_prob": log_prob}),
}
