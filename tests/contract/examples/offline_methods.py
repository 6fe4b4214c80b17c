"""Methods of offline learning: denoisers, latents and tasks, anchors, densities, and what a dataset is worth."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.contract.example import SHAPE, Example, Sampler, normal, positive, real, uniform

ROWS = SHAPE[0]


def key(rng: np.random.Generator) -> jax.Array:
    return jax.random.key(int(rng.integers(2**31)))


def integers(*shape: int, low: int = 0, high: int) -> Sampler:
    return lambda rng: rng.integers(low, high, shape).astype(np.int32)


def gaussian_denoiser(x: jax.Array, sigma: jax.Array) -> jax.Array:
    """Of data N(0.3, 0.5²)."""
    return (0.25 * x + sigma**2 * 0.3) / (0.25 + sigma**2)


def bowl(action: jax.Array) -> jax.Array:
    return -jnp.sum(jnp.square(action - 0.5), -1)


per_row = normal(ROWS)
positive_per_row = uniform(ROWS, low=0.5, high=2)
unit_per_row = uniform(ROWS)

NO_FLOAT = "takes no floating array, whose dtype could be kept"
INTEGER = "gives an integer"
FREE_ROWS = "its two arrays may have different numbers of rows; tests/regularizers checks the errors"
PYTREE = "its argument is any pytree that the given function takes"
NO_DATA = "takes no data"

EXAMPLES: dict[str, Example] = {
    "rlx.losses.generative.edm_scalings": Example({"sigma": positive}),
    "rlx.losses.generative.edm_denoised_loss": Example(
        {"denoised": real, "clean": real, "sigma": positive_per_row, "weight": positive_per_row}, mask=(ROWS,)
    ),
    "rlx.losses.generative.karras_sigmas": Example({}, {"num_steps": 5}, skips={"vmap": NO_DATA, "dtype": NO_FLOAT}),
    "rlx.losses.generative.denoising_loss": Example(
        {"prediction": real, "target": real, "weight": positive_per_row},
        variants=({}, {"reduce": "sum"}),
        mask=(ROWS,),
    ),
    "rlx.losses.generative.interpolate": Example({"clean": real, "noise": real, "time": uniform(ROWS)}),
    "rlx.losses.generative.flow_matching_loss": Example(
        {"velocity": real, "clean": real, "noise": real, "time": uniform(ROWS)},
        variants=({}, {"target": "noise"}, {"target": "clean"}),
        mask=(ROWS,),
    ),
    "rlx.losses.generative.denoising_score_matching": Example(
        {"score": real, "noise": real, "sigma": positive_per_row, "weight": positive_per_row}, mask=(ROWS,)
    ),
    "rlx.losses.imitation.self_evolution_target": Example({"action": real, "past_prediction": real}, {"alpha": 0.3}),
    "rlx.losses.model.td_latent_prediction": Example(
        {"prediction": real, "next_feature": real, "next_prediction": real, "discount": unit_per_row}, mask=(ROWS,)
    ),
    "rlx.losses.model.successor_measure": Example(
        {
            "forward": real,
            "backward": real,
            "target_forward": real,
            "target_backward": real,
            "discount": unit_per_row,
        },
        mask=(ROWS,),
    ),
    "rlx.losses.model.implied_reward": Example(
        {"feature": real, "z": real},
        {"ridge": 0.5},
        mask=(ROWS,),
    ),
    "rlx.losses.value.ensemble_pessimism": Example({"x": real}, {"penalty": 0.5}, variants=({}, {"axis": 1})),
    "rlx.losses.value.hybrid_value": Example(
        {"online_q": real, "online_return": real, "offline_q": per_row, "offline_target": per_row}
    ),
    "rlx.weighting.trajectory_weight": Example(
        {"episode_return": real, "length": integers(*SHAPE, low=1, high=9)}, variants=({}, {"rescale": False})
    ),
    "rlx.regularizers.behavior.kernel_log_density": Example(
        {"x": normal(3, 2), "data": normal(7, 2)}, variants=({}, {"chunk": 3}), skips={"errors": FREE_ROWS}
    ),
    "rlx.regularizers.behavior.out_of_distribution_cost": Example({"log_density": real}, {"threshold": -0.2}),
    "rlx.regularizers.representation.bisimulation": Example(
        {
            "feature": real,
            "other_feature": real,
            "reward": per_row,
            "other_reward": per_row,
            "next_mean": normal(ROWS, 3),
            "other_next_mean": normal(ROWS, 3),
            "next_scale": uniform(ROWS, 3),
            "other_next_scale": uniform(ROWS, 3),
        },
        variants=({}, {"order": 1}),
        mask=(ROWS,),
    ),
    "rlx.regularizers.representation.contrastive_mutual_information": Example(
        {"positive": per_row, "negative": real, "log_weight": real}, mask=(ROWS,)
    ),
    "rlx.rewards.preference_reward": Example(
        {"reward_a": real, "reward_b": real, "label": integers(*SHAPE, low=-1, high=2)}
    ),
    "rlx.rewards.relabel": Example(
        {"observation": real},
        {"reward_fn": lambda s: jnp.stack([jnp.sum(s, -1), s[:, 0] * s[:, 1]])},
        variants=({}, {"normalize": False}),
        skips={"errors": PYTREE},
    ),
    "rlx.diagnostics.positive_sided_variance": Example({"episode_return": real}, variants=({}, {"axis": 0})),
    "rlx.diagnostics.trajectory_quality": Example({"episode_return": real}, {"minimum": -2.0, "maximum": 5.0}),
    "rlx.diagnostics.unique_state_action": Example(
        {"observation": uniform(30, 2), "action": integers(30, high=3)},
        {"bins": 4},
        skips={"dtype": INTEGER},
    ),
    "rlx.diagnostics.state_action_coverage": Example(
        {"num_unique": integers(*SHAPE, low=2, high=90)},
        {"reference": 50.0},
        variants=({}, {"logarithmic": True}),
        skips={"dtype": NO_FLOAT},
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
    "rlx.policies.guidance_schedule": Example(
        {"step": integers(*SHAPE, high=8)}, {"num_steps": 8.0, "delay": 2.0}, skips={"dtype": NO_FLOAT}
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
        skips={"dtype": NO_FLOAT},
    ),
    "rlx.policies.rerank_actions": Example({"q": real, "action": normal(*SHAPE, 2)}, {"num_keep": 3}),
    "rlx.policies.refine_actions": Example(
        {"action": uniform(*SHAPE, low=-0.9, high=0.9)},
        {"value_fn": bowl, "num_steps": 3, "step_size": 0.1},
        variants=({}, {"keep_best": False}),
    ),
    "rlx.policies.sample_by_value": Example(
        {"key": key, "q": real, "action": normal(*SHAPE, 2)}, variants=({}, {"greedy": True})
    ),
    "rlx.policies.best_latent": Example(
        {"key": key},
        {"prior_sample_fn": lambda key: jax.random.normal(key, (3,)), "value_fn": bowl, "num_samples": 5},
        skips={"dtype": NO_FLOAT},
    ),
    "rlx.policies.score_corrected_action": Example({"action": real, "action_score": real}),
    "rlx.policies.transductive_product": Example(
        {"delta_feature": normal(*SHAPE, 3), "anchor_feature": normal(*SHAPE, 3)}
    ),
    "rlx.policies.seek_anchor": Example(
        {"observation": real},
        {"policy_fn": jnp.tanh, "dynamics_fn": lambda s, a: 0.9 * s + 0.1 * a, "horizon": 3},
        skips={"errors": PYTREE},
    ),
    "rlx.policies.task_embedding": Example(
        {"feature": normal(12, 3), "reward": normal(12)},
        {"ridge": 0.1},
        variants=({}, {"kind": "least_squares"}, {"normalize": False}),
        mask=(12,),
    ),
    "rlx.policies.sample_task": Example({"key": key}, {"shape": SHAPE}, skips={"dtype": NO_FLOAT}),
}
