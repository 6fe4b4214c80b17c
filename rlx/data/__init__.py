"""Replay, datasets, sampling and retrieval."""

from rlx.data.best_worst import best_worst_pair
from rlx.data.neighbors import nearest_neighbor
from rlx.data.offline import NormalizedStates, Transitions, normalize_states, transitions
from rlx.data.preference_pairs import optimal_rejected_log_prob, reward_augmented_pairs, same_policy_triplets
from rlx.data.prefixes import prefix_mask, reset_lengths
