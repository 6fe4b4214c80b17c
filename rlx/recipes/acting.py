"""What recipes of acting learners have in common: an environment, what networks see of it, evaluations in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from rlx import envs
from rlx.recipes.settings import COUNT, SettingError, setting
from rlx.recipes.wiring import Config


@dataclasses.dataclass(frozen=True)
class Acting(Config):
    """An environment to act in and to be evaluated in."""

    env: str = setting("rlx:pendulum", "Environment, suite:task; `rlx envs` lists them.", group="environment")
    backend: str | None = setting(
        None,
        "Physics of a Brax task: spring, positional, generalized or mjx; None takes the task's default.",
        group="environment",
    )
    max_episode_steps: int | None = setting(
        None, "Time limit of an episode in decisions; None takes the task's own.", group="environment", within=COUNT
    )
    action_repeat: int = setting(1, "Simulator steps that one decision lasts.", group="environment", within=COUNT)
    random_phase: bool = setting(
        False,
        "Cut the first training episode of each environment after a random number of decisions, uniform from 1 to the "
        "time limit, so that episodes of a fixed length do not all end in the same step (init_at_random_ep_len of "
        "rsl_rl).",
        group="environment",
    )
    policy_sees: tuple[str, ...] | None = setting(
        None,
        "Parts of the observation that the policy sees, where it is a mapping; None takes all but privileged ones.",
        group="network",
    )
    critic_sees: tuple[str, ...] | None = setting(
        None, "Parts of the observation that the critic sees, where it is a mapping; None takes all.", group="network"
    )
    eval_episodes: int = setting(
        16, "Episodes of an evaluation, deterministic and stochastic each.", group="reporting", within="[1, 1e6]"
    )
    max_eval_steps: int | None = setting(
        None,
        "Cut episodes of an evaluation after so many decisions; None takes the environment's limit.",
        group="reporting",
        within=COUNT,
    )

    def __post_init__(self):
        super().__post_init__()
        for name in ("policy_sees", "critic_sees"):
            if getattr(self, name) == ():
                raise SettingError(name, "must name a part of the observation, or be None; got none")


def make_environment(config: Acting) -> envs.Environment:
    """The config's environment."""
    options = {
        name: value
        for name, value in (("max_episode_steps", config.max_episode_steps), ("backend", config.backend))
        if value is not None
    }
    return envs.make(config.env, action_repeat=config.action_repeat, **options)


def to_train_in(config: Acting, environment: Any) -> Any:
    """The environment as experience is collected in it; evaluations see it as it is."""
    return envs.with_random_phase(environment) if config.random_phase else environment


def make_evaluator(config: Acting, environment: Any, learner: Any, data: Any = None) -> Callable:
    """Whole episodes under the deterministic and the exploring policy."""
    from rlx.training import evaluation

    return evaluation.episodes(environment, learner, num_episodes=config.eval_episodes, max_steps=config.max_eval_steps)


def viewing(config: Acting, environment: Any, **networks: Any) -> tuple[Any, ...]:
    """Networks of vectors as networks of what the environment shows.

    Args:
        config: with what a policy and what a critic may see.
        environment: whose observations they are.
        **networks: `policy` and others, which see what critics do; None stays None.
    """
    from rlx import policies

    space = environment.observation_space

    def view(name: str) -> Callable:
        parts = config.policy_sees if name == "policy" else config.critic_sees
        if parts is None and name == "policy" and hasattr(space, "spaces") and hasattr(space.spaces, "keys"):
            parts = tuple(part for part in space.spaces if not part.startswith("privileged"))
        return policies.vector_view(space, parts)

    return tuple(
        None if network is None else policies.seeing(network, view(name)) for name, network in networks.items()
    )
