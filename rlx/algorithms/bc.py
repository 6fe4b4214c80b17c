"""Behavior cloning: every action of the data counts alike."""

from __future__ import annotations

import optax

from rlx.algorithms import weighted_cloning
from rlx.algorithms.learner import Learner
from rlx.policies import Network


def learner(
    policy: Network,
    optimizer: optax.GradientTransformation,
    *,
    penalty: weighted_cloning.PolicyPenalty | None = None,
) -> Learner:
    """Behavior cloning: L_π = mean −log π(a|s), or mean_d (π(s) − a)² of a deterministic policy.

    Args:
        policy: network that gives an `ActionDistribution`, or an action.
        optimizer: transformation of the policy's gradient.
        penalty: added to the policy's loss `[sample]`.
    """
    return weighted_cloning.learner(policy, optimizer, penalty=penalty)
