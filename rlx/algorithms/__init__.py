"""Learners: algorithms as `(init, act, mode, update)`, built from the function library."""

from rlx.algorithms import in_sample, offline, ppo, sac, td3
from rlx.algorithms.learner import Learner, Transition
from rlx.algorithms.normalization import with_running_normalization

__all__ = ["Learner", "Transition", "in_sample", "offline", "ppo", "sac", "td3", "with_running_normalization"]
