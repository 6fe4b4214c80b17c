"""PQN wired up: `rlx.make_train("pqn", env="gymnax:Breakout-MinAtar")`.

The learner is `rlx.algorithms.dqn.parallel_learner`. Defaults are those of the paper's code for MinAtar
(purejaxql, config/alg/pqn_minatar.yaml) unless the help says otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from rlx.recipes import acting, dqn
from rlx.recipes.ppo import make_source
from rlx.recipes.presets.preset import Preset
from rlx.recipes.schedules import scheduled
from rlx.recipes.settings import COUNT, FRACTION, POSITIVE, setting
from rlx.recipes.wiring import Recipe


@dataclasses.dataclass(frozen=True)
class Config(dqn.QLearning):
    """Configuration of a PQN run."""

    num_envs: int = setting(128, "Parallel environments of each seed.", group="scale", within=COUNT)
    unroll_length: int = setting(32, "Steps of each environment between two updates.", group="scale", within=COUNT)
    num_minibatches: int = setting(32, "Minibatches of each epoch.", within=COUNT)
    update_epochs: int = setting(2, "Passes over each rollout.", within=COUNT)
    learning_rate: float = setting(5e-4, "Step size of rectified Adam.", within=POSITIVE, swept=True)
    learning_rate_schedule: Literal["constant", "linear", "cosine"] = setting(
        "linear", "Learning rate over the run: constant, or to zero, linear or along half a cosine."
    )
    discount: float = setting(0.99, "Discount γ.", within=FRACTION, swept=True)
    q_lambda: float = setting(0.65, "λ of the targets.", within=FRACTION, swept=True)
    reward_scale: float = setting(1.0, "Factor of the rewards.", within=POSITIVE, swept=True)
    loss: Literal["huber", "squared"] = setting(
        "squared", "Loss of the Q-network: squared error, or linear beyond a distance of one."
    )
    normalize_observation: bool = setting(False, "Normalize observations by running mean and variance.")
    hidden_sizes: tuple[int, ...] = setting((128,), "Hidden layers of the Q-network.", group="network", within=COUNT)
    activation: Literal["tanh", "relu", "elu", "gelu", "silu"] = setting(
        "relu", "Activation of the hidden layers.", group="network"
    )
    layer_norm: bool = setting(
        True,
        "Layer normalization before every activation, on which learning without a target network rests.",
        group="network",
    )

    @property
    def steps_per_update(self) -> int:
        """Environment steps of one update of one seed."""
        return self.num_envs * self.unroll_length


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
    """The config's PQN learner for an environment.

    Args:
        config: the config.
        environment: what its network is made for.
        num_updates: of the run, for the schedule of the learning rate.
        data: nothing.
        q_network: a `rlx.policies.Network` that gives values of all actions, in place of the config's.
        optimizer: an `optax.GradientTransformation`, in place of rectified Adam with clipping and schedule.
        **slots: further keywords of `rlx.algorithms.dqn.parallel_learner`.
    """
    import optax

    from rlx.algorithms import dqn as algorithm
    from rlx.algorithms import with_running_normalization

    gradient_steps = num_updates * config.update_epochs * config.num_minibatches
    rate = scheduled(config.learning_rate, config.learning_rate_schedule, gradient_steps)
    arguments = dict(
        discount=config.discount,
        lambda_=config.q_lambda,
        update_epochs=config.update_epochs,
        num_minibatches=config.num_minibatches,
        epsilon=dqn.make_epsilon(config),
        reward_scale=config.reward_scale,
        loss=dqn.make_loss(config.loss),
    )
    learner = algorithm.parallel_learner(
        dqn.make_q_network(config, environment) if q_network is None else q_network,
        dqn.clipped(config, optax.radam(rate)) if optimizer is None else optimizer,
        **(arguments | slots),
    )
    return with_running_normalization(learner, on_policy=True) if config.normalize_observation else learner


_MINATAR = Preset(
    "the paper's code, config/alg/pqn_minatar.yaml, with its division of pixels by 255",
    dict(total_steps=10_000_000, pixel_scale=1 / 255),
)

PRESETS: Mapping[str, Preset] = {
    "gymnax:CartPole-v1": Preset(
        "the paper's code, config/alg/pqn_cartpole.yaml: final return 500 with each of seeds 0-7 (python -m "
        "experiments.benchmarks value_based)",
        dict(
            total_steps=500_000,
            num_envs=32,
            unroll_length=64,
            epsilon_end=0.2,
            exploration_fraction=0.2,
            num_minibatches=16,
            update_epochs=4,
            hidden_sizes=(256, 256),
            learning_rate=1e-4,
            reward_scale=0.1,
            q_lambda=0.95,
        ),
    ),
    **{f"gymnax:{task}-MinAtar": _MINATAR for task in ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")},
}
"""Presets by environment."""

RECIPE = Recipe(
    name="pqn",
    title="PQN",
    config=Config,
    make_environment=acting.make_environment,
    make_learner=make_learner,
    make_source=make_source,
    make_evaluator=acting.make_evaluator,
    core="rlx.algorithms.dqn:parallel_learner",
    presets=PRESETS,
    examples=("rlx train pqn --env gymnax:Breakout-MinAtar --seeds 4 --total-steps 2e6",),
    about="Actions must be discrete.",
)
