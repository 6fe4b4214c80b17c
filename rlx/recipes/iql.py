"""IQL wired up: `rlx.make_train("iql", dataset="hopper.hdf5", env="brax:hopper")`."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from rlx.recipes import discrete, offline
from rlx.recipes.presets.offline_data import IQL
from rlx.recipes.schedules import scheduled
from rlx.recipes.settings import NOT_NEGATIVE, POSITIVE, setting


@dataclasses.dataclass(frozen=True)
class Config(offline.Valued):
    """Configuration of an IQL run."""

    reward_scaling: Literal["none", "return_range"] = offline.other_default(
        offline.Valued, "reward_scaling", "return_range"
    )
    expectile: float = setting(
        0.7, "Expectile of the data's values; 0.9 where stitching needs optimism.", within="(0, 1)", swept=True
    )
    beta: float = setting(3.0, "Inverse temperature β of the weights exp(β·A).", within=NOT_NEGATIVE, swept=True)
    max_weight: float = setting(100.0, "Largest weight of a sample.", within=POSITIVE, swept=True)


def make_learner(
    config: Config,
    environment: Any,
    *,
    num_updates: int,
    data: Any = None,
    policy: Any = None,
    value: Any = None,
    critic: Any = None,
    optimizer: Any = None,
    value_optimizer: Any = None,
    critic_optimizer: Any = None,
    **slots: Any,
):
    """The config's IQL learner for an environment.

    Args:
        config: the config.
        environment: what its networks are made for.
        num_updates: of the run.
        data: what `rlx.recipes.offline.load` gave; None loads it.
        policy: a `rlx.policies.Network` that gives an `ActionDistribution`, or an action, in place of the config's.
        value: a state value, in place of the config's.
        critic: an ensemble of action values, in place of the config's.
        optimizer: an `optax.GradientTransformation` of the policy, in place of Adam, with a cosine schedule
            where nothing is learned online.
        value_optimizer: of the value, in place of Adam.
        critic_optimizer: of the critics, in place of Adam.
        **slots: further keywords of `rlx.algorithms.iql.learner`.
    """
    import optax

    from rlx import policies
    from rlx.algorithms import iql

    if policy is None:
        policy = discrete.cloning_policy(
            environment.action_space, config.hidden_sizes, bounded_mean=True, log_std_bounds=(-20.0, 2.0)
        )
    value = offline.state_value(config.critic_sizes) if value is None else value
    if critic is None:
        critic = policies.action_critic(config.critic_sizes, num_actions=discrete.num_actions(environment.action_space))
    # As in the paper's code, what goes on learning online keeps its step size.
    schedule = "constant" if config.online_steps else "cosine"
    rate = scheduled(config.learning_rate, schedule, num_updates * config.steps_per_update)
    arguments = dict(
        expectile=config.expectile,
        beta=config.beta,
        max_weight=config.max_weight,
        discount=config.discount,
        tau=config.tau,
    )
    learner = iql.learner(
        policy,
        value,
        critic,
        optax.adam(rate) if optimizer is None else optimizer,
        offline.adam(config.critic_learning_rate, value_optimizer),
        offline.adam(config.critic_learning_rate, critic_optimizer),
        **(arguments | slots),
    )
    return offline.normalized(config, learner, data)


RECIPE = offline.recipe(
    "iql",
    "IQL",
    Config,
    make_learner,
    "rlx.algorithms.iql:learner",
    presets=IQL,
    about="The order of a step is that of CORL: advantages are of the values before their step, and targets too. The "
    "code of the paper takes the values after it, and drops a tenth of the policy's features on Adroit and the "
    "kitchen; here nothing is dropped.",
)
