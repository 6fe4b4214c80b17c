"""Read-only measures of policies, values and data."""

from rlx.diagnostics.training import (
    approximate_kl,
    clip_fraction,
    data_to_divergence,
    effective_sample_size,
    explained_variance,
)
