"""Entropies, entropy bonuses, and penalties that hold an entropy, in nats."""

from rlx.regularizers.entropy.closed_form import categorical_entropy, gaussian_entropy
