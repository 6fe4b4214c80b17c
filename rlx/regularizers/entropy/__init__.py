"""Entropies, entropy bonuses, and penalties that hold an entropy, in nats."""

from rlx.regularizers.entropy.closed_form import categorical_entropy, gaussian_entropy
from rlx.regularizers.entropy.nucleus import nucleus_entropy
from rlx.regularizers.entropy.sampled import sampled_negentropy
from rlx.regularizers.entropy.targets import anchored_entropy, entropy_band_penalty
