"""Rank, orthonormality, bisimulation and information of features."""

from rlx.regularizers.representation.bisimulation_metric import bisimulation
from rlx.regularizers.representation.mutual_information import contrastive_mutual_information
from rlx.regularizers.representation.orthonormal import orthonormality
