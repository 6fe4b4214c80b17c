"""Policies, critics and torsos as ``init``/``apply`` functions, and their action distributions."""

from rlx.policies.distributions import ActionDistribution, beta, categorical, gaussian, mode
from rlx.policies.initializers import orthogonal
from rlx.policies.networks import (
    ACTIVATIONS,
    MLP,
    Network,
    beta_policy,
    categorical_policy,
    critic,
    from_flax,
    gaussian_policy,
    policy,
    torso,
)

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "ActionDistribution",
    "Network",
    "beta",
    "beta_policy",
    "categorical",
    "categorical_policy",
    "critic",
    "from_flax",
    "gaussian",
    "gaussian_policy",
    "mode",
    "orthogonal",
    "policy",
    "torso",
]
