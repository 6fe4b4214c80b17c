"""CQL wired up: `rlx.make_train("cql", dataset="hopper.hdf5", env="brax:hopper")`."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

from rlx.recipes import discrete, off_policy, offline, offline_actor_critic
from rlx.recipes.presets.offline import CQL
from rlx.recipes.settings import COUNT, NOT_NEGATIVE, POSITIVE, setting

COST = (
    "A gradient step asks the critics about thirty actions and more of each state, where TD3+BC asks about two: on a "
    "CPU, take few seeds and less than the default of --total-steps."
)
"""What a person should know before a run on a CPU."""


@dataclasses.dataclass(frozen=True)
class Config(offline_actor_critic.ActorCritic):
    """Configuration of a CQL run."""

    calibrated: ClassVar[bool] = False
    """Whether values are kept from falling below the data's returns."""

    hidden_sizes: tuple[int, ...] = offline.other_default(offline.Feedforward, "hidden_sizes", (256, 256, 256))
    learning_rate: float = setting(
        3e-5, "Adam's step size for the policy and the temperature.", within=POSITIVE, swept=True
    )
    weight: float = setting(
        10.0,
        "Weight of the gap between the soft maximum over actions and the data's action.",
        within=NOT_NEGATIVE,
        swept=True,
    )
    num_actions: int = setting(10, "Actions of each of three kinds in the soft maximum.", within=COUNT)
    gap_temperature: float = setting(1.0, "Temperature of the soft maximum.", within=POSITIVE, swept=True)
    gap_target: float | None = setting(
        None,
        "Gap that a Lagrange multiplier of the weight is trained to keep: it grows while the gap is larger, and "
        "shrinks while it is smaller. None fixes the weight.",
    )
    max_target_backup: bool = setting(False, "Targets take the best of several next actions.")
    backup_entropy: bool = setting(False, "Targets hold the entropy of the next action.")
    initialization: Literal["uniform", "orthogonal"] = setting(
        "uniform",
        "Weights at the start: uniform within ±1/√inputs, biases too (PyTorch), or orthogonal with small output layers "
        "(the code of Cal-QL).",
        group="network",
    )


def make_learner(
    config: Config,
    environment: Any,
    *,
    num_updates: int,
    data: Any = None,
    policy: Any = None,
    critic: Any = None,
    optimizer: Any = None,
    critic_optimizer: Any = None,
    temperature_optimizer: Any = None,
    added: Any = (),
    **slots: Any,
):
    """The config's CQL learner for an environment.

    Args:
        config: the config.
        environment: what its networks are made for.
        num_updates: of the run.
        data: what `rlx.recipes.offline.load` gave; None loads it.
        policy: a `rlx.policies.Network` that gives an `ActionDistribution`, in place of the config's.
        critic: an ensemble of action values, in place of the config's; of discrete actions, a network of their values.
        optimizer: an `optax.GradientTransformation` of the policy, in place of Adam.
        critic_optimizer: of the critics, in place of Adam.
        temperature_optimizer: of log α, in place of Adam.
        added: slots of further methods, `rlx.algorithms.actor_critic.Slots`.
        **slots: further keywords of `rlx.algorithms.cql.learner`; of discrete actions, `rlx.algorithms.dqn.learner`.
    """
    import jax.numpy as jnp

    from rlx.algorithms import cql

    space = environment.action_space
    if discrete.num_actions(space) is not None:
        return discrete.make_cql_learner(
            config, environment, data=data, q_network=critic, optimizer=critic_optimizer, **slots
        )
    weights = {"initialization": config.initialization, "output_scale": 0.01}
    if policy is None:
        policy = offline.gaussian(
            space,
            config.hidden_sizes,
            squash="tanh",
            state_dependent_std=True,
            initial_std=math.exp(-1),
            log_std_bounds=(-20.0, 2.0),
            **weights,
        )
    critic, bisimulation = offline_actor_critic.critics(config, critic, **weights)
    arguments = dict(
        low=jnp.asarray(space.low),
        high=jnp.asarray(space.high),
        weight=config.weight,
        num_actions=config.num_actions,
        gap_temperature=config.gap_temperature,
        gap_target=config.gap_target,
        calibrated=config.calibrated,
        max_target_backup=config.max_target_backup,
        backup_entropy=config.backup_entropy,
        discount=config.discount,
        tau=config.tau,
    )
    learner = cql.learner(
        policy,
        critic,
        *off_policy.make_optimizers(config, optimizer, critic_optimizer),
        offline.adam(config.learning_rate, temperature_optimizer),
        added=(*bisimulation, *added),
        **(arguments | slots),
    )
    return offline.normalized(config, learner, data)


RECIPE = offline.recipe(
    "cql",
    "CQL",
    Config,
    make_learner,
    "rlx.algorithms.cql:learner",
    presets=CQL,
    about="The defaults are those of CORL: a weight of 10, where the paper has 5, and no start by behavior "
    "cloning, which the authors' code has. Discrete actions have no policy of their own, but the values of double "
    "Q-learning, whose gap is exact; there a weight of about 1 is usual. " + COST,
)
