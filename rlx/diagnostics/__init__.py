"""Read-only measures of policies, values and data."""

from rlx.diagnostics.consistency import rank_consistency
from rlx.diagnostics.covariance import advantage_covariance
from rlx.diagnostics.dataset_quality import (
    positive_sided_variance,
    state_action_coverage,
    trajectory_quality,
    unique_state_action,
)
from rlx.diagnostics.entropy_dynamics import entropy_change, entropy_discriminator, entropy_discriminator_baseline
from rlx.diagnostics.entropy_performance import entropy_law, fit_entropy_law
from rlx.diagnostics.information import differential_information, differential_information_entropy
from rlx.diagnostics.off_policy_evaluation import doubly_robust, importance_sampling
from rlx.diagnostics.optimality import action_gap, optimal_multiplicity
from rlx.diagnostics.outcomes import outcome_entropy
from rlx.diagnostics.policy_selection import bandit_selection
from rlx.diagnostics.preference import goodhart_curve, likelihood_displacement, preference_accuracy, unseen_mass
from rlx.diagnostics.repeated_sampling import majority_at_k, pass_at_k
from rlx.diagnostics.score import normalized_score
from rlx.diagnostics.selective import risk_coverage, selective_accuracy
from rlx.diagnostics.training import (
    approximate_kl,
    clip_fraction,
    data_to_divergence,
    effective_sample_size,
    explained_variance,
)
