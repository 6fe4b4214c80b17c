"""Recipes: algorithms wired up, each a config and how it becomes a program.

import jax, rlx
train = rlx.make_train("ppo", env="gymnax:CartPole-v1", learning_rate=1e-3)
state, metrics = jax.jit(train)(jax.random.key(0))
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from rlx.envs.registry import nearest
from rlx.recipes import wiring
from rlx.recipes.settings import SettingError
from rlx.recipes.wiring import Config, Recipe, make_build, make_program

RECIPES = {
    "ppo": ("rlx.recipes.ppo", "proximal policy optimization"),
    "recurrent_ppo": ("rlx.recipes.recurrent_ppo", "PPO of policies that remember"),
    "sac": ("rlx.recipes.sac", "soft actor-critic"),
    "td3": ("rlx.recipes.td3", "twin delayed deterministic policy gradient"),
    "dqn": ("rlx.recipes.dqn", "deep Q-learning of discrete actions"),
    "pqn": ("rlx.recipes.pqn", "parallelized Q-learning, without replay and target network"),
    "bc": ("rlx.recipes.bc", "behavior cloning from a dataset"),
    "td3_bc": ("rlx.recipes.td3_bc", "TD3 that stays near a dataset's actions"),
    "rebrac": ("rlx.recipes.rebrac", "TD3+BC whose values, too, pay for leaving the data"),
    "a2pr": ("rlx.recipes.a2pr", "TD3 that stays near the better of the data's and a generated action"),
    "prdc": ("rlx.recipes.prdc", "TD3 that stays near the nearest pair of a dataset"),
    "iql": ("rlx.recipes.iql", "implicit Q-learning from a dataset"),
    "awac": ("rlx.recipes.awac", "cloning of a dataset by the policy's own advantage"),
    "odice": ("rlx.recipes.odice", "cloning of a dataset by a dual value, trained by an orthogonal gradient"),
    "cql": ("rlx.recipes.cql", "conservative Q-learning from a dataset"),
    "cal_ql": ("rlx.recipes.cal_ql", "CQL whose values do not fall below the data's returns"),
    "sac_n": ("rlx.recipes.sac_n", "SAC from a dataset, with many critics"),
    "edac": ("rlx.recipes.edac", "SAC-N whose critics are kept diverse"),
    "decision_transformer": ("rlx.recipes.decision_transformer", "cloning of a dataset given the return that followed"),
    "grpo": ("rlx.recipes.grpo", "group-relative policy optimization of a language model"),
    "dpo": ("rlx.recipes.dpo", "preference optimization of a language model, from pairs of responses"),
}
"""Algorithm -> module that has its `RECIPE`, and what it is."""

VARIANTS = {
    "ppo_losses": ("rlx.recipes.ppo_losses", "PPO's policy losses side by side, in one program"),
}
"""Recipes that are no algorithms of their own: `rlx ablate` uses them."""

ABLATIONS = {
    "ppo": ("rlx.cli.ablate_in_one_program", "policy losses of PPO"),
    "offline": ("rlx.cli.ablate_offline", "offline learners on one dataset"),
    "grpo": ("rlx.cli.ablate_language", "methods of policy optimization for language models"),
    "dpo": ("rlx.cli.ablate_language", "methods of preference optimization for language models"),
}
"""What `rlx ablate` compares -> module that has its `main(arguments)`, and what it is."""

__all__ = [
    "RECIPES",
    "Config",
    "Recipe",
    "SettingError",
    "ABLATIONS",
    "VARIANTS",
    "UnknownAlgorithm",
    "load",
    "make_build",
    "make_program",
    "make_train",
    "recipe",
]


class UnknownAlgorithm(ValueError):
    """No algorithm has this name; the message holds the nearest names that exist."""


def recipe(algorithm: str) -> Recipe:
    """The recipe of an algorithm.

    Args:
        algorithm: one of `RECIPES`.

    Raises:
        UnknownAlgorithm: there is no such algorithm.
    """
    known = RECIPES | VARIANTS
    if algorithm not in known:
        raise UnknownAlgorithm(f"no algorithm {algorithm!r}; {nearest(algorithm, RECIPES)}")
    module, _ = known[algorithm]
    return importlib.import_module(module).RECIPE


def make_train(algorithm: str, **arguments: Any) -> Callable:
    """A whole run as a pure function, with the preset of its environment filled in.

    Args:
        algorithm: one of `rlx.recipes.RECIPES`, such as `"ppo"`.
        **arguments: fields of the algorithm's config (`env`, `learning_rate`, `total_steps` …; numbers that may be
            swept may be traced), and parts of the algorithm to put in place of the config's (`policy`, `critic`,
            `optimizer`, `environment`, and keywords of the learner such as `surrogate`).

    Returns:
        `train(key) -> (state, metrics)`: `state.params` are the trained parameters, `metrics` hold one row per update.
        Jit it, and vmap it over keys.

    Raises:
        UnknownAlgorithm: there is no such algorithm.
        TypeError: an argument that it does not have.
        SettingError: a value out of its range.
    """
    return wiring.make_train(recipe(algorithm), **arguments)


def __getattr__(name: str) -> Any:
    if name == "load":
        return importlib.import_module("rlx.recipes.trained").load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
