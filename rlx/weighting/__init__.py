"""Weights and masks over tokens, samples, trajectories and datasets."""

from rlx.weighting.ratio import importance_log_ratio
