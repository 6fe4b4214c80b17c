"""Examples of what policies do with actions, latents and tasks."""

import jax
import jax.numpy as jnp

from tests.contract.example import SHAPE, TAKES_NO_FLOATS, Example, integers, key, normal, real, uniform


def gaussian_denoiser(x: jax.Array, sigma: jax.Array) -> jax.Array:
    """Of data N(0.3, 0.5²)."""
    return (0.25 * x + sigma**2 * 0.3) / (0.25 + sigma**2)


def bowl(action: jax.Array) -> jax.Array:
    return -jnp.sum(jnp.square(action - 0.5), -1)


PYTREE = "its argument is any pytree that the given function takes"

EXAMPLES: dict[str, Example] = {
    "rlx.policies.best_latent": Example(
        {"key": key},
        {"prior_sample_fn": lambda key: jax.random.normal(key, (3,)), "value_fn": bowl, "num_samples": 5},
        skips=TAKES_NO_FLOATS,
    ),
    "rlx.policies.edm_sample": Example(
        {"key": key},
        {
            "denoise_fn": gaussian_denoiser,
            "guidance_fn": lambda x: -x,
            "shape": (3, 2),
            "num_steps": 3,
            "sigma_max": 9.0,
        },
        variants=({}, {"guide_denoised": True, "normalize_guidance": True, "second_order": False}),
        skips=TAKES_NO_FLOATS,
    ),
    "rlx.policies.filtered_log_prob": Example(
        {"logits": real, "action": integers(SHAPE[0], high=SHAPE[1])},
        variants=({"threshold": 0.2}, {"kind": "probability", "threshold": 0.1}, {"kind": "top_p", "threshold": 0.6}),
    ),
    "rlx.policies.guidance_schedule": Example(
        {"step": integers(*SHAPE, high=8)}, {"num_steps": 8.0, "delay": 2.0}, skips=TAKES_NO_FLOATS
    ),
    "rlx.policies.perturb": Example({"key": key, "hidden": real}, {"log_scale": -1.0}),
    "rlx.policies.refine_actions": Example(
        {"action": uniform(*SHAPE, low=-0.9, high=0.9)},
        {"value_fn": bowl, "num_steps": 3, "step_size": 0.1},
        variants=({}, {"keep_best": False}),
    ),
    "rlx.policies.rerank_actions": Example({"q": real, "action": normal(*SHAPE, 2)}, {"num_keep": 3}),
    "rlx.policies.sample_by_value": Example(
        {"key": key, "q": real, "action": normal(*SHAPE, 2)}, variants=({}, {"greedy": True})
    ),
    "rlx.policies.sample_task": Example({"key": key}, {"shape": SHAPE}, skips=TAKES_NO_FLOATS),
    "rlx.policies.score_corrected_action": Example({"action": real, "action_score": real}),
    "rlx.policies.seek_anchor": Example(
        {"observation": real},
        {"policy_fn": jnp.tanh, "dynamics_fn": lambda s, a: 0.9 * s + 0.1 * a, "horizon": 3},
        skips={"errors": PYTREE},
    ),
    "rlx.policies.selective_scan": Example(
        {
            "x": normal(5, 3),
            "delta": uniform(5, 3),
            "a": uniform(3, 2, low=-2, high=-0.5),
            "b": normal(5, 2),
            "c": normal(5, 2),
            "d": normal(3),
        },
        variants=({}, {"return_state": True}),
    ),
    "rlx.policies.target_policy_smoothing": Example({"key": key, "action": uniform(*SHAPE, low=-1)}),
    "rlx.policies.task_embedding": Example(
        {"feature": normal(12, 3), "reward": normal(12)},
        {"ridge": 0.1},
        variants=({}, {"kind": "least_squares"}, {"normalize": False}),
        mask=(12,),
    ),
    "rlx.policies.transductive_product": Example(
        {"delta_feature": normal(*SHAPE, 3), "anchor_feature": normal(*SHAPE, 3)}
    ),
}
