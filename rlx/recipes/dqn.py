"""DQN wired up: `rlx.make_train("dqn", env="gymnax:CartPole-v1")`; and what it shares with PQN.

References are those of `rlx.algorithms.dqn`. A default is that of the paper (Mnih et al. 2015) where its help says so;
what scales with its Atari runs of 50 million steps is ours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from rlx.recipes import acting, off_policy
from rlx.recipes.presets.preset import Preset
from rlx.recipes.settings import COUNT, FRACTION, NOT_NEGATIVE, POSITIVE, SHARE, setting
from rlx.recipes.wiring import Recipe


@dataclasses.dataclass(frozen=True)
class QLearning(acting.Acting):
    """A Q-network that acts ε-greedily."""

    env: str = setting("gymnax:CartPole-v1", "Environment, suite:task; `rlx envs` lists them.", group="environment")
    epsilon_start: float = setting(
        1.0, "Share of random actions at the start; 1 in the papers of DQN and PQN.", within=FRACTION, swept=True
    )
    epsilon_end: float = setting(
        0.05, "Share of random actions once it has fallen; 0.1 in the paper of DQN.", within=FRACTION, swept=True
    )
    exploration_fraction: float = setting(
        0.1,
        "Part of the run's environment steps within which the share of random actions falls, linearly.",
        within=SHARE,
        swept=True,
    )
    max_grad_norm: float | None = setting(
        10.0,
        "Norm to which the gradient is clipped, as in the dueling network's paper and PQN's code; None never does.",
        within=POSITIVE,
        swept=True,
    )
    dueling: bool = setting(
        False, "Two streams in the Q-network, of the state's value and of advantages.", group="network"
    )
    layer_norm: bool = setting(False, "Layer normalization before every activation.", group="network")
    channels: tuple[int, ...] = setting(
        (16,),
        "3x3 convolutions before the hidden layers where an observation is an image.",
        group="network",
        within=COUNT,
    )
    pixel_scale: float = setting(
        1.0, "What images are multiplied by, such as 0.00392 for bytes.", group="network", within=POSITIVE
    )


@dataclasses.dataclass(frozen=True)
class Config(QLearning, off_policy.OffPolicy):
    """Configuration of a DQN run."""

    updates_per_step: int = setting(
        2,
        "Gradient steps of an update; one for four environment steps is the paper's rate.",
        group="scale",
        within=COUNT,
    )
    batch_size: int = setting(32, "Transitions of a minibatch; 32 in the paper.", group="scale", within=COUNT)
    buffer_size: int = setting(
        100_000,
        "Transitions that the replay keeps, the oldest make room; a million in the paper.",
        group="scale",
        within=COUNT,
    )
    learning_rate: float = setting(2.5e-4, "Adam's step size; the paper has RMSProp.", within=POSITIVE, swept=True)
    double: bool = setting(True, "The Q-network chooses the action that the target network values (double Q-learning).")
    n_step: int = setting(1, "Most steps of a return before it is bootstrapped; 1 in the paper.", within=COUNT)
    target_period: int = setting(
        1000, "Gradient steps between two moves of the target network; 10,000 in the paper.", within=COUNT
    )
    tau: float = setting(
        1.0,
        "How far the target network moves: 1 copies the Q-network, as in the paper; less, with a target period of 1, "
        "is a Polyak average.",
        within=SHARE,
        swept=True,
    )
    loss: Literal["huber", "squared"] = setting(
        "huber", "Loss of the Q-network: its error clipped to ±1 as in the paper, or not."
    )
    conservative_weight: float | None = setting(
        None,
        "Weight of CQL's gap, by which the soft maximum of the values exceeds that of the action taken; None for none. "
        "`rlx train cql` learns so from a dataset.",
        within=NOT_NEGATIVE,
        swept=True,
    )


def make_q_network(config: QLearning, environment: Any):
    """The config's Q-network: of images as they are, of all other observations as vectors."""
    from rlx import policies

    is_image = len(getattr(environment.observation_space, "shape", None) or ()) == 3
    network = policies.q_network(
        environment.action_space,
        config.hidden_sizes,
        channels=config.channels if is_image else (),
        pixel_scale=config.pixel_scale,
        dueling=config.dueling,
        activation=config.activation,
        layer_norm=config.layer_norm,
    )
    return network if is_image else acting.viewing(config, environment, policy=network)[0]


def make_epsilon(config: QLearning):
    """The schedule of the share of random actions."""
    from rlx.algorithms import dqn

    return dqn.linear_epsilon(
        config.epsilon_start, config.epsilon_end, config.exploration_fraction * config.total_steps
    )


def clipped(config: QLearning, optimizer: Any):
    """The optimizer of a gradient whose norm is clipped."""
    import optax

    return (
        optimizer
        if config.max_grad_norm is None
        else optax.chain(optax.clip_by_global_norm(config.max_grad_norm), optimizer)
    )


def make_loss(name: str):
    """The loss of a name."""
    from rlx.algorithms import dqn

    return {"huber": dqn.huber, "squared": dqn.squared_error}[name]


def make_learner(
    config: Config,
    environment: Any,
    *,
    num_updates: int,
    data: Any = None,
    q_network: Any = None,
    optimizer: Any = None,
    **slots: Any,
):
    """The config's DQN learner for an environment.

    Args:
        config: the config.
        environment: what its network is made for.
        num_updates: of the run.
        data: nothing.
        q_network: a `rlx.policies.Network` that gives values of all actions, in place of the config's.
        optimizer: an `optax.GradientTransformation`, in place of Adam with clipping.
        **slots: further keywords of `rlx.algorithms.dqn.learner`.
    """
    import optax

    from rlx.algorithms import dqn

    arguments = dict(
        discount=config.discount,
        double=config.double,
        target_period=config.target_period,
        tau=config.tau,
        epsilon=make_epsilon(config),
        reward_scale=config.reward_scale,
        loss=make_loss(config.loss),
        conservative_weight=config.conservative_weight,
    )
    learner = dqn.learner(
        make_q_network(config, environment) if q_network is None else q_network,
        clipped(config, optax.adam(config.learning_rate)) if optimizer is None else optimizer,
        **(arguments | slots),
    )
    return off_policy.normalized(config, learner)


def make_source(config: Config, environment: Any, learner: Any, data: Any = None):
    """A replay of what happened, with returns of several steps if the config asks for them."""
    from rlx.training import sources

    return sources.replay(
        acting.to_train_in(config, environment),
        learner,
        num_envs=config.num_envs,
        unroll_length=config.unroll_length,
        updates_per_step=config.updates_per_step,
        batch_size=config.batch_size,
        buffer_size=config.buffer_size,
        warmup_steps=config.warmup_steps,
        warmup_policy=config.warmup_policy,
        n_step=config.n_step,
        discount=config.discount,
    )


_MINATAR = Preset(
    "examples/dqn.py of github.com/kenjyoung/MinAtar at 4241f24 (Young and Tian 2019, arXiv:1903.03176), a gradient "
    "step for each frame; Adam in place of RMSProp and eight environments in place of one are ours; not measured here",
    dict(
        total_steps=5_000_000,
        num_envs=8,
        updates_per_step=8,
        batch_size=32,
        buffer_size=100_000,
        warmup_steps=5000,
        learning_rate=2.5e-4,
        double=False,
        target_period=1000,
        tau=1.0,
        epsilon_end=0.1,
        exploration_fraction=0.02,
        hidden_sizes=(128,),
        max_grad_norm=None,
    ),
)

PRESETS: Mapping[str, Preset] = {
    "gymnax:CartPole-v1": Preset(
        "tuned here, of two learning rates (2.5e-4, 1e-3) times two values of tau (0.005, 0.02), with the layer "
        "normalization and the reward scale of PQN's code: final return 500 (interquartile mean over seeds 0-7, the "
        "worst 436; python -m experiments.benchmarks value_based)",
        dict(
            total_steps=100_000,
            num_envs=16,
            updates_per_step=4,
            batch_size=128,
            buffer_size=50_000,
            warmup_steps=1600,
            learning_rate=2.5e-4,
            reward_scale=0.1,
            n_step=3,
            target_period=1,
            tau=0.005,
            exploration_fraction=0.2,
            hidden_sizes=(128, 128),
            layer_norm=True,
        ),
    ),
    **{f"gymnax:{task}-MinAtar": _MINATAR for task in ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")},
}
"""Presets by environment."""

RECIPE = Recipe(
    name="dqn",
    title="DQN",
    config=Config,
    make_environment=acting.make_environment,
    make_learner=make_learner,
    make_source=make_source,
    make_evaluator=acting.make_evaluator,
    core="rlx.algorithms.dqn:learner",
    presets=PRESETS,
    examples=(
        "rlx train dqn --env gymnax:CartPole-v1 --seeds 8",
        "rlx train dqn --env gymnax:Breakout-MinAtar --dueling true --n-step 3",
    ),
    about="Actions must be discrete.",
)
