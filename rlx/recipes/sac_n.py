"""SAC-N wired up: `rlx.make_train("sac_n", dataset="hopper.hdf5", env="brax:hopper")`."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from rlx.recipes import off_policy, offline, offline_actor_critic
from rlx.recipes.settings import COUNT, POSITIVE, setting


@dataclasses.dataclass(frozen=True)
class Config(offline_actor_critic.ActorCritic):
    """Configuration of a SAC-N run."""

    eta: ClassVar[float | None] = None
    """Weight of the critics' agreement, which EDAC has."""

    hidden_sizes: tuple[int, ...] = offline.other_default(offline.Feedforward, "hidden_sizes", (256, 256, 256))
    num_critics: int = setting(
        10, "Critics, the smallest value of which counts; up to 500 for SAC-N.", group="network", within=COUNT
    )
    total_steps: int = offline.other_default(offline.Offline, "total_steps", 3_000_000)
    learning_rate: float = setting(
        3e-4, "Adam's step size for the policy and the temperature.", within=POSITIVE, swept=True
    )
    normalize_observation: bool = offline.other_default(offline.Offline, "normalize_observation", False)


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
    """The config's SAC-N or EDAC learner for an environment.

    Args:
        config: the config.
        environment: what its networks are made for.
        num_updates: of the run.
        data: what `rlx.recipes.offline.load` gave; None loads it.
        policy: a `rlx.policies.Network` that gives an `ActionDistribution`, in place of the config's.
        critic: an ensemble of action values, in place of the config's.
        optimizer: an `optax.GradientTransformation` of the policy, in place of Adam.
        critic_optimizer: of the critics, in place of Adam.
        temperature_optimizer: of log α, in place of Adam.
        added: slots of further methods, `rlx.algorithms.actor_critic.Slots`.
        **slots: further keywords of `rlx.algorithms.edac.learner`, or of `rlx.algorithms.sac.learner`.
    """
    from rlx.algorithms import edac

    if policy is None:
        policy = offline.gaussian(
            environment.action_space,
            config.hidden_sizes,
            squash="tanh",
            state_dependent_std=True,
            log_std_bounds=(-5.0, 2.0),
            hidden_bias=0.1,
            output_bound=1e-3,
        )
    critic, bisimulation = offline_actor_critic.critics(
        config, critic, num=config.num_critics, hidden_bias=0.1, output_bound=3e-3
    )
    learner = edac.learner(
        policy,
        critic,
        *off_policy.make_optimizers(config, optimizer, critic_optimizer),
        offline.adam(config.learning_rate, temperature_optimizer),
        added=(*bisimulation, *added),
        **(dict(eta=config.eta, discount=config.discount, tau=config.tau) | slots),
    )
    return offline.normalized(config, learner, data)


RECIPE = offline.recipe("sac_n", "SAC-N", Config, make_learner, "rlx.algorithms.sac:learner")
