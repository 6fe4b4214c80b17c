"""Examples of the coefficients and statistics with a state."""

import numpy as np

from rlx.controllers import MomentsState
from tests.contract.example import (
    ANY_COUNTS,
    SHAPE,
    SURROGATE,
    Example,
    Sampler,
    boolean,
    integers,
    log_prob,
    normal,
    positive,
    real,
    uniform,
)


def moments(*shape: int) -> Sampler:
    """Statistics of twelve elements."""
    return lambda rng: MomentsState(np.float32(12), normal(*shape)(rng), uniform(*shape, low=0.5, high=2)(rng))


def step(rng: np.random.Generator) -> np.ndarray:
    return np.asarray(rng.integers(100, 200))


PYTHON_NUMBERS = "takes and gives Python numbers, which are shapes of the program"
PYTREE = "its arguments are pytrees; tests/controllers checks the errors"

EXAMPLES: dict[str, Example] = {
    "rlx.controllers.adaptive_kl": Example(
        {"kl": uniform(6, high=0.05)}, {"target": 0.02}, init=uniform(6, low=0.5, high=2)
    ),
    "rlx.controllers.balanced_clip": Example(SURROGATE),
    "rlx.controllers.best_length": Example(
        {"prompt": integers(*SHAPE, high=5), "length": positive, "correct": boolean(*SHAPE)},
        variants=({}, {"mode": "mean"}),
        init=uniform(5, low=0.5, high=2),
    ),
    "rlx.controllers.denormalize": Example({"state": moments(6), "x": normal(4, 6)}, skips={"errors": PYTREE}),
    "rlx.controllers.entropy_temperature": Example({"entropy": positive}),
    "rlx.controllers.entropy_temperature_loss": Example(
        {"log_temperature": real, "log_prob": log_prob}, {"target_entropy": -3.0}
    ),
    "rlx.controllers.ewma_params": Example({"params": real}, {"decay": 0.9}, init=real),
    "rlx.controllers.first_value": Example({"x": real}, init=real),
    "rlx.controllers.kl_adaptive_learning_rate": Example(
        {"kl": uniform(6, high=0.05)}, {"target": 0.02}, init=uniform(6, low=1e-4, high=5e-3)
    ),
    "rlx.controllers.lagrange_multiplier": Example(
        {"violation": normal(6)}, {"step": 0.1}, init=uniform(6, low=0.5, high=2)
    ),
    "rlx.controllers.normalize": Example({"state": moments(6), "x": normal(4, 6)}, skips={"errors": PYTREE}),
    "rlx.controllers.preference_beta": Example(
        {"reward_gap": uniform(*SHAPE, high=3), "step": step}, {"start": 100.0, "stop": 300.0}
    ),
    "rlx.controllers.proportional_kl": Example(
        {"kl": uniform(6, high=0.05)}, {"target": 0.02}, init=uniform(6, low=0.5, high=2)
    ),
    "rlx.controllers.running_mean": Example({"x": real}, init=real),
    "rlx.controllers.running_moments": Example({"x": normal(4, 6, scale=3, shift=2)}, init=normal(6), mask=(4,)),
    "rlx.controllers.running_return_scale": Example(
        {"reward": real, "done": boolean(*SHAPE)}, {"discount": 0.9}, init=normal(6)
    ),
    "rlx.controllers.scale_parallel_environments": Example(
        {},
        skips={check: PYTHON_NUMBERS for check in ("jit", "vmap", "sweep", "gradient", "dtype", "errors")},
    ),
    "rlx.controllers.two_phase_decay": Example(
        {"step": uniform(*SHAPE, high=180)}, {"total_steps": 150}, skips=ANY_COUNTS
    ),
    "rlx.controllers.update_moments": Example(
        {"state": moments(6), "x": normal(4, 6)}, mask=(4,), skips={"errors": PYTREE}
    ),
}
