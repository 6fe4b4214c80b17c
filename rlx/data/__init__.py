"""Replay, datasets, sampling and retrieval."""

from rlx.data.best_worst import best_worst_pair
from rlx.data.dataset import (
    ActionRange,
    Dataset,
    DatasetError,
    Normalized,
    concatenate,
    make_dataset,
    normalize_observations,
    returns_to_go,
    select_episodes,
)
from rlx.data.files import (
    DatasetFile,
    read_behavior_log_prob,
    read_d4rl,
    read_dataset,
    read_metadata,
    read_minari,
    write_d4rl,
    write_dataset,
    write_minari,
)
from rlx.data.neighbors import nearest_neighbor
from rlx.data.offline import NormalizedStates, Transitions, normalize_states, transitions
from rlx.data.preference_pairs import optimal_rejected_log_prob, reward_augmented_pairs, same_policy_triplets
from rlx.data.prefixes import prefix_mask, reset_lengths
from rlx.data.reference_scores import ReferenceScores, reference_scores
from rlx.data.reweighting import row_weight
from rlx.data.sampling import AliasTable, Batch, alias_table, sample, sample_sequences
