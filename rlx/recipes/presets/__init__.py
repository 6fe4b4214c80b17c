"""Hyperparameters that suit an environment, each with its source.

A preset overrides defaults of an algorithm's `Config`; an environment without one of its own gets its suite's. Counts
are per seed; `total_steps` and `max_episode_steps` count decisions, so that with `action_repeat=n` they are an
n-th of the simulator steps that Brax and Playground publish. Published settings were found on the physics of their day
(Brax's own engines, MuJoCo Warp) and are translated, not tuned again; what is tuned here says what it reached.
"""

from typing import Any

from rlx.recipes.presets.off_policy import SAC, SAC_SUITES, TD3, TD3_SUITES
from rlx.recipes.presets.ppo import PPO, PPO_SUITES
from rlx.recipes.presets.preset import Preset

_TABLES = {"ppo": (PPO, PPO_SUITES), "sac": (SAC, SAC_SUITES), "td3": (TD3, TD3_SUITES)}


def preset(algorithm: str, env: str) -> dict[str, Any]:
    """Fields of an algorithm's `Config` with the values that suit an environment.

    Args:
        algorithm: name of an algorithm, such as `"ppo"`.
        env: name of an environment, `"suite:task"`.

    Returns:
        Field -> value: the environment's own preset, or its suite's, or nothing.
    """
    found = _find(algorithm, env)
    return {} if found is None else dict(found.overrides)


def source(algorithm: str, env: str) -> str | None:
    """Where `preset(algorithm, env)` comes from; None where the defaults apply."""
    found = _find(algorithm, env)
    return None if found is None else found.source


def names(algorithm: str) -> list[str]:
    """Environments that have a preset of their own for an algorithm."""
    table, _ = _TABLES.get(algorithm, ({}, {}))
    return list(table)


def _find(algorithm: str, env: str) -> Preset | None:
    table, suites = _TABLES.get(algorithm, ({}, {}))
    return table.get(env) or suites.get(env.partition(":")[0])
