"""Coefficients and statistics with a state.

A controller is a pair `init(...) -> state`, `update(state, ...) -> (output, state)` of pure functions; its
state is a NamedTuple of arrays that scans, vmaps and checkpoints like any other pytree.
"""

from rlx.controllers.batch_size import EwmaState, ParallelScale, ewma_params, scale_parallel_environments
from rlx.controllers.clip_bounds import balanced_clip
from rlx.controllers.dual_temperature import entropy_temperature_loss
from rlx.controllers.entropy import entropy_temperature, two_phase_decay
from rlx.controllers.history import BestLengthState, best_length
from rlx.controllers.kl import AdaptiveKLState, adaptive_kl, kl_adaptive_learning_rate, proportional_kl
from rlx.controllers.lagrange import LagrangeMultiplierState, lagrange_multiplier
from rlx.controllers.memory import FirstValueState, RunningMeanState, first_value, running_mean
from rlx.controllers.moments import (
    MomentsState,
    ReturnScaleState,
    denormalize,
    normalize,
    running_moments,
    running_return_scale,
    update_moments,
)
from rlx.controllers.preference_beta import preference_beta
