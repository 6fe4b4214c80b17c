"""PPO with a memory wired up: what differs from PPO's recipe is the torso.

import jax, rlx
train = rlx.make_train("recurrent_ppo", env="gymnax:MemoryChain-bsuite", cell="ssm")
state, metrics = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 8))
"""

from __future__ import annotations

import dataclasses
from operator import itemgetter
from typing import Any, Literal

from rlx.recipes import acting, ppo
from rlx.recipes.settings import COUNT, setting
from rlx.recipes.wiring import Recipe


@dataclasses.dataclass(frozen=True)
class Config(ppo.Config):
    """Configuration of a run of recurrent PPO."""

    env: str = setting(
        "rlx:pendulum_without_velocity", "Environment, suite:task; `rlx envs` lists them.", group="environment"
    )
    num_minibatches: int = setting(
        8, "Minibatches of each epoch; each holds whole environments, whose number they divide.", within=COUNT
    )
    cell: Literal["gru", "ssm"] = setting(
        "gru", "What remembers: a gated recurrent unit or a diagonal state-space layer.", group="network"
    )
    memory_size: int = setting(128, "Size of the memory.", group="network", within=COUNT)
    hidden_sizes: tuple[int, ...] = setting(
        (128,), "Hidden layers between the observation and the memory.", group="network", within=COUNT
    )
    critic_hidden_sizes: tuple[int, ...] | None = setting(
        None,
        "Hidden layers before the critic's own memory, where it has one; None takes the policy's.",
        group="network",
        within=COUNT,
    )
    shared_torso: bool = setting(
        True, "Policy and critic share hidden layers and memory; otherwise each has its own.", group="network"
    )


def make_learner(
    config: Config,
    environment: Any,
    *,
    num_updates: int,
    data: Any = None,
    policy: Any = None,
    critic: Any = None,
    torso: Any = None,
    optimizer: Any = None,
    **slots: Any,
):
    """The config's learner for an environment.

    Args:
        config: the config.
        environment: what its networks are made for.
        num_updates: of the run, for schedules.
        data: nothing.
        policy: a `rlx.policies.Network` from features to an `ActionDistribution`, in place of the config's.
        critic: a network from features to values, in place of the config's.
        torso: a `rlx.policies.Recurrent` that both share, in place of the config's.
        optimizer: an `optax.GradientTransformation`, in place of Adam with clipping and schedule.
        **slots: further keywords of `rlx.algorithms.ppo.learner`.
    """
    from rlx import policies
    from rlx.algorithms import recurrent_ppo, with_running_normalization

    def remembering(of: str, cell: policies.Recurrent, sizes: tuple[int, ...]) -> policies.Recurrent:
        encoder = policies.torso(sizes, **ppo.network_options(config))
        return policies.encoded(*acting.viewing(config, environment, **{of: encoder}), cell)

    policy = ppo.make_policy(config, environment, shared=True) if policy is None else policy
    critic = policies.critic((), **ppo.head_options(config, shared=True)) if critic is None else critic
    cell = policies.CELLS[config.cell](config.memory_size)
    if torso is not None:
        torso = remembering("policy", torso, ())
    elif config.shared_torso:
        # What the policy sees is all that both see.
        torso = remembering("policy", cell, config.hidden_sizes)
    else:
        sizes = config.hidden_sizes if config.critic_hidden_sizes is None else config.critic_hidden_sizes
        torso = policies.side_by_side(
            remembering("policy", cell, config.hidden_sizes), remembering("critic", cell, sizes)
        )
        policy, critic = (policies.seeing(head, itemgetter(i)) for i, head in enumerate((policy, critic)))
    optimizer = ppo.make_optimizer(config, num_updates) if optimizer is None else optimizer
    options = ppo.make_options(config, num_updates) | slots
    learner = recurrent_ppo.learner(policy, critic, optimizer, torso=torso, **options)
    return with_running_normalization(learner, on_policy=True) if config.normalize_observation else learner


RECIPE = Recipe(
    name="recurrent_ppo",
    title="recurrent PPO",
    config=Config,
    make_environment=acting.make_environment,
    make_learner=make_learner,
    make_source=ppo.make_source,
    make_evaluator=acting.make_evaluator,
    core=ppo.RECIPE.core,
    presets={},
    examples=(
        "rlx train recurrent_ppo --env gymnax:MemoryChain-bsuite --seeds 4",
        "rlx train recurrent_ppo --env rlx:pendulum_without_velocity --cell ssm --memory-size 64",
    ),
    about="A policy with a memory, for environments whose observations do not tell all that matters.",
)
