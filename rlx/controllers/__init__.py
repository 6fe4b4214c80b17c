"""Coefficients and statistics with a state.

A controller is a pair `init(...) -> state`, `update(state, ...) -> (output, state)` of pure functions; its
state is a NamedTuple of arrays that scans, vmaps and checkpoints like any other pytree.
"""

from rlx.controllers.batch_size import EwmaState, ParallelScale, ewma_params, scale_parallel_environments
from rlx.controllers.kl import AdaptiveKLState, adaptive_kl
from rlx.controllers.moments import (
    MomentsState,
    ReturnScaleState,
    denormalize,
    normalize,
    running_moments,
    running_return_scale,
    update_moments,
)
