"""Weights and masks over tokens, samples, trajectories and datasets."""

from rlx.weighting.advantage import advantage_weight
from rlx.weighting.asymmetric import difficulty_kl_weight, excess_length_weight
from rlx.weighting.asynchronous import duration
from rlx.weighting.diversity import diversity_softmax
from rlx.weighting.fraction import top_fraction
from rlx.weighting.nucleus import nucleus_threshold
from rlx.weighting.outcome import mixed_outcome, performance_gate
from rlx.weighting.ratio import importance_log_ratio
from rlx.weighting.selection import extreme_mask, quantile_mask, random_mask
from rlx.weighting.steps import cumulative_credit, first_error_mask
from rlx.weighting.suffix import suffix_mask
from rlx.weighting.token_filter import entropy_discriminator_mask
from rlx.weighting.trajectories import trajectory_weight
