"""Learners: algorithms as ``(init, act, mode, update)``, built from the function library."""

from rlx.algorithms import ppo
from rlx.algorithms.learner import Learner, Transition

__all__ = ["Learner", "Transition", "ppo"]
