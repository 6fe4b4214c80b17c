"""Policy-gradient surrogates on log-probabilities, to be minimized; one value per element."""

from rlx.losses.policy.surrogates import clipped_surrogate, decoupled_clip, policy_gradient
