"""Discrete actions of learners from a dataset: a softmax to clone them, and CQL by deep Q-learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlx.recipes import offline
from rlx.recipes.settings import SettingError

EXPLORATION = 0.05
"""Share of random actions of the exploring policy."""

CONTINUOUS_ALONE = ("gap_target", "bisimulation_weight")
"""Fields of CQL's config that must be None here."""


def cloning_policy(action_space: Any, sizes: Sequence[int], **options: Any):
    """A policy that clones actions: Gaussian with these options, or of discrete actions a softmax."""
    from rlx import policies

    if num_actions(action_space) is None:
        return offline.gaussian(action_space, sizes, **options)
    return policies.categorical_policy(action_space, sizes, activation="relu", initialization="uniform")


def num_actions(action_space: Any) -> int | None:
    """How many discrete actions there are; None of continuous ones."""
    import gymnasium

    return int(action_space.n) if isinstance(action_space, gymnasium.spaces.Discrete) else None


def make_cql_learner(
    config: Any, environment: Any, *, data: Any = None, q_network: Any = None, optimizer: Any = None, **slots: Any
):
    """The learner of a CQL config for an environment with discrete actions: double Q-learning with a moving target.

    L = mean ½·(Q(s, a) − y)² + weight·mean (log Σ_b exp Q(s, b) − Q(s, a)), as in equation 4 of the paper (Kumar et
    al., 2020, arXiv:2006.04779), with the target of double Q-learning.

    Args:
        config: of CQL; `weight`, `discount`, `tau`, the step size and hidden layers of the critics count.
        environment: what its network is made for.
        data: what `rlx.recipes.offline.load` gave; None loads it.
        q_network: a network that gives values of all actions, in place of the config's.
        optimizer: of the values, in place of Adam.
        **slots: further keywords of `rlx.algorithms.dqn.learner`.

    Raises:
        SettingError: a field has a value that discrete actions have no use for.
        ValueError: the config is Cal-QL's.
    """
    from rlx import policies
    from rlx.algorithms import dqn
    from rlx.losses.value import squared_error

    if config.calibrated:
        raise ValueError(f"Cal-QL learns continuous actions, and those of {config.env} are discrete: use rlx train cql")
    for name in CONTINUOUS_ALONE:
        if getattr(config, name) is not None:
            raise SettingError(name, f"must be None where actions are discrete, got {getattr(config, name)}")
    if q_network is None:
        q_network = policies.q_network(environment.action_space, config.critic_sizes, initialization="uniform")
    arguments = dict(
        discount=config.discount,
        tau=config.tau,
        double=True,
        epsilon=EXPLORATION,
        loss=squared_error,
        conservative_weight=config.weight,
    )
    learner = dqn.learner(q_network, offline.adam(config.critic_learning_rate, optimizer), **(arguments | slots))
    return offline.normalized(config, learner, data)
