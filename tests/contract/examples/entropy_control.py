"""Control of the entropy of token policies, and the masks that it selects tokens by."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.contract.example import SHAPE, Example, Sampler, boolean, log_prob, normal, positive, real, uniform


def integers(*shape: int, low: int = 0, high: int) -> Sampler:
    return lambda rng: rng.integers(low, high, shape)


def key(rng: np.random.Generator) -> jax.Array:
    return jax.random.key(rng.integers(2**16))


BOOLEAN = {"dtype": "gives a boolean mask"}


COUNTS = {"errors": "counts steps or tokens, and takes integers as well as floats"}
TOKEN = {"log_prob": log_prob, "entropy": positive, "advantage": real}
SEQUENCE = {"advantage": normal(SHAPE[0]), "log_prob": log_prob}

EXAMPLES: dict[str, Example] = {
    "rlx.weighting.quantile_mask": Example({"score": real}, variants=({}, {"axis": 0}), skips=BOOLEAN),
    "rlx.weighting.extreme_mask": Example(
        {"score": real}, {"fraction": 0.4}, variants=({}, {"largest": False}), skips=BOOLEAN
    ),
    "rlx.weighting.random_mask": Example({"key": key}, {"count": 3.0}, skips=BOOLEAN),
    "rlx.weighting.nucleus_threshold": Example({"logits": real}, {"top_p": 0.6}, variants=({}, {"axis": 0})),
    "rlx.weighting.entropy_discriminator_mask": Example(
        TOKEN, variants=({"threshold": 0.8}, {"threshold": 0.4, "max_fraction": 0.1}), skips=BOOLEAN
    ),
    "rlx.weighting.difficulty_kl_weight": Example({"advantage": real, "success_rate": uniform(*SHAPE)}),
    "rlx.weighting.excess_length_weight": Example(
        {"length": uniform(*SHAPE, low=10, high=90), "correct": boolean(*SHAPE)},
        variants=({"base": 1.1}, {"base": 1.1, "axis": 0}),
        skips=COUNTS,
    ),
    "rlx.policies.filtered_log_prob": Example(
        {"logits": real, "action": integers(SHAPE[0], high=SHAPE[1])},
        variants=({"threshold": 0.2}, {"kind": "probability", "threshold": 0.1}, {"kind": "top_p", "threshold": 0.6}),
    ),
    "rlx.regularizers.entropy.nucleus_entropy": Example(
        {"logits": real}, variants=({}, {"top_p": 0.6, "include_boundary": True, "axis": 0})
    ),
    "rlx.regularizers.entropy.anchored_entropy": Example(
        {"entropy": positive, "anchor": uniform()},
        variants=({}, {"axis": 0}),
        skips={"errors": "the anchor is a scalar, of which there is no unfitting shape"},
    ),
    "rlx.regularizers.entropy.entropy_band_penalty": Example(
        {"entropy": positive, "history": uniform(SHAPE[0], low=0.4, high=0.8)},
        {"low": 1.5},
        variants=({}, {"kind": "hinge"}, {"kind": "hinge", "level": "sequence"}),
    ),
    "rlx.regularizers.behavior.likelihood_displacement": Example(
        {**SEQUENCE, "behavior_log_prob": log_prob},
        variants=({}, {"segment": jnp.array([1, 1, 2, 2, 3, 0]), "num_segments": 3}),
    ),
    "rlx.losses.policy.low_probability_surrogate": Example(
        {"log_prob": log_prob, "behavior_log_prob": log_prob, "advantage": real, "proxy_log_prob": log_prob},
        variants=({"fraction": 0.6}, {"fraction": 0.6, "clip_low": 0.2, "clip_high": 0.3}),
    ),
    "rlx.controllers.entropy_temperature": Example({"entropy": positive}),
    "rlx.controllers.two_phase_decay": Example({"step": uniform(*SHAPE, high=180)}, {"total_steps": 150}, skips=COUNTS),
    "rlx.controllers.first_value": Example({"x": real}, init=real),
    "rlx.controllers.running_mean": Example({"x": real}, init=real),
    "rlx.diagnostics.entropy_discriminator": Example({"log_prob": log_prob, "entropy": positive}),
    "rlx.diagnostics.entropy_discriminator_baseline": Example({"logits": real}, variants=({}, {"axis": 0})),
    "rlx.diagnostics.entropy_change": Example({**TOKEN, "baseline": real}, {"step_size": 0.1}),
    "rlx.returns.confidence_penalty": Example(
        {**SEQUENCE, "reference_log_prob": log_prob}, variants=({}, {"normalize_length": True})
    ),
    "rlx.rewards.self_correction": Example({"first_reward": real, "second_reward": real}),
}
