"""BC wired up: `rlx.make_train("bc", dataset="hopper.hdf5", env="brax:hopper")`."""

from __future__ import annotations

import dataclasses
from typing import Any

from rlx.recipes import discrete, offline


@dataclasses.dataclass(frozen=True)
class Config(offline.Feedforward):
    """Configuration of a run of behavior cloning with a deterministic policy; of discrete actions, with a softmax."""


def make_learner(
    config: Config,
    environment: Any,
    *,
    num_updates: int,
    data: Any = None,
    policy: Any = None,
    optimizer: Any = None,
    **slots: Any,
):
    """The config's BC learner for an environment.

    Args:
        config: the config.
        environment: what its networks are made for.
        num_updates: of the run.
        data: what `rlx.recipes.offline.load` gave; None loads it.
        policy: a `rlx.policies.Network` that gives an action, or an `ActionDistribution`, in place of the config's.
        optimizer: an `optax.GradientTransformation` of the policy, in place of Adam.
        **slots: further keywords of `rlx.algorithms.bc.learner`.
    """
    from rlx import policies
    from rlx.algorithms import bc

    if policy is None and discrete.num_actions(environment.action_space) is None:
        policy = policies.deterministic(environment.action_space, config.hidden_sizes)
    elif policy is None:
        policy = discrete.cloning_policy(environment.action_space, config.hidden_sizes)
    learner = bc.learner(policy, offline.adam(config.learning_rate, optimizer), **slots)
    return offline.normalized(config, learner, data)


RECIPE = offline.recipe(
    "bc",
    "BC",
    Config,
    make_learner,
    "rlx.algorithms.bc:learner",
    about="Behavior cloning. With --weighting top it is percentage BC: the best trajectories alone, by their "
    "return without a discount, as in the paper (CORL discounts it by 0.99).",
)
