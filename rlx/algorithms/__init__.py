"""Learners: algorithms as `(init, act, mode, update)`, built from the function library.

Every algorithm is a module with a function `learner`: `rlx.algorithms.td3_bc.learner(...)`.
"""

from rlx.algorithms import (
    a2pr,
    awac,
    bc,
    bisimulation,
    cql,
    decision_transformer,
    dqn,
    edac,
    iql,
    odice,
    ppo,
    prdc,
    rebrac,
    recurrent_ppo,
    sac,
    td3,
    td3_bc,
    weighted_cloning,
)
from rlx.algorithms.learner import Learner, Transition
from rlx.algorithms.normalization import with_fixed_normalization, with_running_normalization

__all__ = [
    "Learner",
    "Transition",
    "a2pr",
    "awac",
    "bc",
    "bisimulation",
    "cql",
    "decision_transformer",
    "dqn",
    "edac",
    "iql",
    "odice",
    "ppo",
    "prdc",
    "rebrac",
    "recurrent_ppo",
    "sac",
    "td3",
    "td3_bc",
    "weighted_cloning",
    "with_fixed_normalization",
    "with_running_normalization",
]
