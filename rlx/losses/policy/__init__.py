"""Policy-gradient surrogates on log-probabilities, to be minimized; one value per element."""

from rlx.losses.policy.balanced import balanced_surrogate
from rlx.losses.policy.best_of_n import best_of_n
from rlx.losses.policy.contrastive import copg
from rlx.losses.policy.covariance import clip_cov, kl_cov
from rlx.losses.policy.distribution_matching import (
    constraint_target,
    exponential_family_target,
    f_dpg,
    kl_target,
    log_normalizer,
)
from rlx.losses.policy.group_contrast import discriminative, implicit_actor_critic
from rlx.losses.policy.hazard import hazard_modulated_surrogate
from rlx.losses.policy.leftover import advantage_leftover
from rlx.losses.policy.low_probability import low_probability_surrogate
from rlx.losses.policy.mixed import mixed_policy
from rlx.losses.policy.outcome_contrast import outcome_contrast
from rlx.losses.policy.ratio_variance import ratio_variance
from rlx.losses.policy.regression import advantage_regression
from rlx.losses.policy.surrogates import clipped_surrogate, decoupled_clip, policy_gradient
from rlx.losses.policy.value_gradient import soft_value_maximization, value_maximization
from rlx.losses.policy.weighted import importance_weighted, unified_gradient
