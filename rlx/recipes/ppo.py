"""PPO wired up: from an environment's name to a program that trains in it.

import jax, rlx
train = rlx.make_train("ppo", env="brax:ant", total_steps=10_000_000)
state, metrics = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 8))
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from rlx.recipes import acting
from rlx.recipes.presets.ppo import PPO
from rlx.recipes.schedules import scheduled
from rlx.recipes.settings import COUNT, FRACTION, NOT_NEGATIVE, POSITIVE, SettingError, setting
from rlx.recipes.wiring import Recipe


@dataclasses.dataclass(frozen=True)
class Config(acting.Acting):
    """Configuration of a PPO run."""

    env: str = setting("brax:inverted_pendulum", "Environment, suite:task; `rlx envs` lists them.", group="environment")
    num_envs: int = setting(512, "Parallel environments of each seed.", group="scale", within=COUNT)
    unroll_length: int = setting(32, "Steps of each environment between two updates.", group="scale", within=COUNT)
    num_minibatches: int = setting(8, "Minibatches of each epoch.", within=COUNT)
    update_epochs: int = setting(4, "Passes over each batch.", within=COUNT)
    learning_rate: float = setting(3e-4, "Adam's step size.", within=POSITIVE, swept=True)
    learning_rate_schedule: Literal["constant", "linear", "cosine", "kl_adaptive"] = setting(
        "constant",
        "Learning rate over the run: constant; to zero, linear or along half a cosine; or kl_adaptive, moved before "
        "every gradient step to keep the policy's KL from the one that acted near --desired-kl, as rsl_rl does.",
    )
    desired_kl: float = setting(
        0.01,
        "KL that the learning rate kl_adaptive aims at: the rate is divided by 1.5 above twice this, multiplied by 1.5 "
        "below half of it, and kept within [1e-5, 1e-2].",
        within=POSITIVE,
        swept=True,
    )
    adam_epsilon: float = setting(1e-5, "Adam's ε.", within=POSITIVE, swept=True)
    max_grad_norm: float = setting(
        0.5, "Norm to which the gradient of all parameters is clipped.", within=POSITIVE, swept=True
    )
    discount: float = setting(0.99, "Discount γ.", within=FRACTION, swept=True)
    gae_lambda: float = setting(0.95, "λ of generalized advantage estimation.", within=FRACTION, swept=True)
    clip: float = setting(0.2, "ε of the clipped surrogate.", within=POSITIVE, swept=True)
    clip_schedule: Literal["constant", "linear"] = setting(
        "constant", "ε of the clipped surrogate over the run: constant, or linear to zero."
    )
    value_loss: Literal["squared", "clipped"] = setting(
        "squared", "Loss of the critic: plain, or clipped around the old value."
    )
    value_clip: float = setting(0.2, "ε of the clipped value loss.", within=POSITIVE, swept=True)
    value_coefficient: float = setting(0.5, "Weight of the critic's loss.", within=NOT_NEGATIVE, swept=True)
    entropy_coefficient: float = setting(0.0, "Weight of the entropy bonus.", swept=True)
    normalize_advantage: Literal["minibatch", "batch", "none"] = setting(
        "minibatch", "Where advantages are standardized."
    )
    normalize_observation: bool = setting(True, "Normalize observations by running mean and variance.")
    normalize_reward: bool = setting(
        False, "Divide rewards by the running standard deviation of the discounted return."
    )
    reward_scale: float = setting(1.0, "Factor of the rewards.", within=POSITIVE, swept=True)
    target_kl: float | None = setting(
        None,
        "Stop the epochs of an update once the approximate KL exceeds 1.5 times this; None never stops.",
        within=POSITIVE,
        swept=True,
    )
    adaptive_kl: float | None = setting(
        None,
        "Add a KL penalty whose coefficient adapts to this KL; None adds none.",
        within=POSITIVE,
        swept=True,
    )
    distribution: Literal["auto", "gaussian", "gaussian_state", "tanh", "beta", "categorical"] = setting(
        "auto",
        "Distribution of actions; auto is gaussian for continuous actions and categorical for discrete ones.",
        group="network",
    )
    hidden_sizes: tuple[int, ...] = setting(
        (256, 256), "Hidden layers of the policy, or of the shared torso.", group="network", within=COUNT
    )
    critic_hidden_sizes: tuple[int, ...] | None = setting(
        None, "Hidden layers of the critic; None takes the policy's.", group="network", within=COUNT
    )
    shared_torso: bool = setting(False, "Policy and critic share their hidden layers.", group="network")
    activation: Literal["tanh", "relu", "elu", "gelu", "silu"] = setting(
        "tanh", "Activation of the hidden layers.", group="network"
    )
    layer_norm: bool = setting(False, "Layer normalization before every activation.", group="network")
    initial_std: float = setting(1.0, "Scale of a Gaussian policy at the start.", group="network", within=POSITIVE)

    def __post_init__(self):
        super().__post_init__()
        if self.learning_rate_schedule == "kl_adaptive" and self.update_epochs * self.num_minibatches == 1:
            raise SettingError(
                "learning_rate_schedule",
                "cannot be 'kl_adaptive' where an update takes one gradient step, before which the policy has not "
                "moved; raise update_epochs or num_minibatches",
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
    policy: Any = None,
    critic: Any = None,
    torso: Any = None,
    optimizer: Any = None,
    **slots: Any,
):
    """The config's PPO learner for an environment.

    Args:
        config: the config.
        environment: what its networks are made for.
        num_updates: of the run, for schedules.
        data: nothing.
        policy: a `rlx.policies.Network` that gives an `ActionDistribution`, in place of the config's.
        critic: a network that gives values, in place of the config's.
        torso: features shared by both, in place of the config's.
        optimizer: an `optax.GradientTransformation`, in place of Adam with clipping and schedule.
        **slots: further keywords of `rlx.algorithms.ppo.learner`.
    """
    from rlx import policies
    from rlx.algorithms import ppo, with_running_normalization

    shared = config.shared_torso or torso is not None
    if policy is None:
        policy = make_policy(config, environment, shared=shared)
    if critic is None:
        sizes = config.hidden_sizes if config.critic_hidden_sizes is None else config.critic_hidden_sizes
        critic = policies.critic(() if shared else sizes, **head_options(config, shared))
    if shared:
        torso = policies.torso(config.hidden_sizes, **network_options(config)) if torso is None else torso
        # What the policy sees is all that both see.
        (torso,) = acting.viewing(config, environment, policy=torso)
    else:
        policy, critic = acting.viewing(config, environment, policy=policy, critic=critic)
    optimizer = make_optimizer(config, num_updates) if optimizer is None else optimizer
    options = make_options(config, num_updates) | slots
    learner = ppo.learner(policy, critic, optimizer, torso=torso, **options)
    return with_running_normalization(learner, on_policy=True) if config.normalize_observation else learner


def make_options(config: Config, num_updates: int) -> dict[str, Any]:
    """The config's numbers and losses, as keywords of `rlx.algorithms.ppo.learner`."""
    from rlx import controllers
    from rlx.algorithms import ppo

    clipped = config.value_loss == "clipped"
    is_adaptive = config.learning_rate_schedule == "kl_adaptive"
    return dict(
        discount=config.discount,
        lambda_=config.gae_lambda,
        update_epochs=config.update_epochs,
        num_minibatches=config.num_minibatches,
        clip=scheduled(config.clip, config.clip_schedule, gradient_steps(config, num_updates)),
        value_loss=ppo.clipped_value_loss(config.value_clip) if clipped else ppo.squared_value_loss,
        value_coefficient=config.value_coefficient,
        regularizers={"entropy": (config.entropy_coefficient, ppo.negative_entropy)},
        normalize_advantage=config.normalize_advantage,
        normalize_reward=config.normalize_reward,
        reward_scale=config.reward_scale,
        target_kl=config.target_kl,
        adaptive_kl=None if config.adaptive_kl is None else controllers.adaptive_kl(target=config.adaptive_kl),
        adaptive_learning_rate=(
            controllers.kl_adaptive_learning_rate(target=config.desired_kl) if is_adaptive else None
        ),
    )


def gradient_steps(config: Config, num_updates: int) -> int:
    """Gradient steps of a run."""
    return num_updates * config.update_epochs * config.num_minibatches


def make_policy(config: Config, environment: Any, *, shared: bool = False):
    """The config's policy on vectors; a head on features where the torso is shared."""
    from rlx import policies

    space = environment.action_space
    is_gaussian = not hasattr(space, "n") and config.distribution in ("auto", "gaussian", "gaussian_state", "tanh")
    options = head_options(config, shared) | ({"initial_std": config.initial_std} if is_gaussian else {})
    return policies.policy(space, () if shared else config.hidden_sizes, kind=config.distribution, **options)


def network_options(config: Config) -> dict[str, Any]:
    """Options of a network with hidden layers."""
    return {"activation": config.activation, "layer_norm": config.layer_norm}


def head_options(config: Config, shared: bool) -> dict[str, Any]:
    """Options of a policy or a critic."""
    return {"activation": config.activation} if shared else network_options(config)


def make_optimizer(config: Config, num_updates: int):
    """Adam with clipping and the schedule of the learning rate."""
    import optax

    total = gradient_steps(config, num_updates)
    rate = scheduled(config.learning_rate, config.learning_rate_schedule, total)
    adam = optax.inject_hyperparams(optax.adam)(learning_rate=rate, eps=config.adam_epsilon)
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), adam)


def make_source(config: Config, environment: Any, learner: Any, data: Any = None):
    """Rollouts of the policy."""
    from rlx.training import sources

    return sources.rollouts(
        acting.to_train_in(config, environment), learner, num_envs=config.num_envs, unroll_length=config.unroll_length
    )


def notes(config: Config) -> list[str]:
    """What a number of environments of one's own means for how often PPO learns."""
    preset = RECIPE.preset(config.env)
    usual = RECIPE.config(**(preset.overrides if preset else {}), env=config.env)
    if config.num_envs == usual.num_envs or config.unroll_length != usual.unroll_length:
        return []
    updates, usually = (max(1, round(config.total_steps / each.steps_per_update)) for each in (config, usual))
    keeps = max(1, round(usual.steps_per_update / config.num_envs))
    return [
        f"--num-envs {config.num_envs} makes {updates:,} updates of {config.steps_per_update:,} steps in this run, "
        f"where {usual.num_envs} environments make {usually:,}; --unroll-length {keeps} keeps their number"
    ]


RECIPE = Recipe(
    name="ppo",
    title="PPO",
    config=Config,
    make_environment=acting.make_environment,
    make_learner=make_learner,
    make_source=make_source,
    make_evaluator=acting.make_evaluator,
    core="rlx.algorithms.ppo:learner",
    notes=notes,
    presets=PPO,
    examples=(
        "rlx train ppo --env brax:ant --seeds 4 --total-steps 2e7",
        "rlx train ppo --env gymnax:CartPole-v1 --sweep learning_rate=1e-4,3e-4,1e-3",
    ),
)
