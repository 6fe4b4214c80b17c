"""Offline learners on logged data, for claims: tuned alike, trained on the same number of batches, judged alike.

settings = [{"alpha": 1.0}, {"alpha": 2.5}]
tuned = tune_and_train("td3_bc", logged, settings, size=size)
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from experiments.claims.logged import Logged
from experiments.claims.tuning import Setting, choose
from experiments.claims.verdicts import Size
from rlx import recipes
from rlx.algorithms import Learner
from rlx.recipes.settings import hyperparameters

SIZE = Size(num_seeds=8, num_updates=20_000)
"""Seeds, and gradient steps of each."""
QUICK = Size(num_seeds=2, num_updates=20)
NUM_EVALUATIONS = 10
NUM_LAST = 3
# Seeds that settings are chosen on are none of those that a claim is judged by.
TUNING_SEEDS = 10_000
LADDERS = {
    # At the largest α nothing but the value counts, and TD3+BC is TD3; at the smallest the policy is a clone.
    "alpha": (0.1, 0.4, 1.0, 2.5, 10.0, 40.0, 200.0, 1e3, 1e4, 1e6),
    # From the mean of the values to all but their maximum, and from cloning to cloning of the best actions alone.
    "expectile": (0.5, 0.7, 0.9, 0.97, 0.99),
    "beta": (0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
    # From SAC to critics that do little but tell the data's actions from others.
    "weight": (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
    # From steps too small to leave the initial policy in a run to steps of the size of a weight.
    "learning_rate": (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    # The two terms of O-DICE's value are weighed by λ and 1 − λ; without η its gradient is a semi-gradient.
    "lambda_": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99),
    "eta": (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
}
"""Number of a learner's config -> all values that a claim may choose."""

SMALL = {"hidden_sizes": (64, 64), "critic_hidden_sizes": (64, 64), "batch_size": 128}
"""Networks and minibatches for tasks of a few dimensions; what the paper prescribes beyond that stays."""


class Trained(NamedTuple):
    """Runs of one learner on one dataset.

    Attributes:
        score: normalized score at each evaluation (0 random actions, 100 the best behavior), deterministic policy.
        metrics: the learner's own, means over the gradient steps between evaluations, `[seed, evaluation]`.
        state: of the learner at the end, leaves `[seed, ...]`.
        learner: what it is the state of; acts on observations as the environment gives them.
        steps: gradient steps before each evaluation.
        setting: hyperparameters that were trained with.
    """

    score: Float[np.ndarray, "seed evaluation"]
    metrics: dict[str, np.ndarray]
    state: PyTree[Array]
    learner: Learner
    steps: np.ndarray
    setting: dict[str, Any]

    @property
    def last(self) -> Float[np.ndarray, " seed"]:
        """Mean of the last evaluations' scores; nothing is chosen by looking at them."""
        return self.score[:, -NUM_LAST:].mean(axis=1)

    def probe(self, measure: Callable[[PyTree[Array]], Array]) -> np.ndarray:
        """A measure of each seed's final state, `[seed, ...]`."""
        return np.asarray(jax.jit(jax.vmap(measure))(self.state))


def train(
    name: str,
    logged: Logged,
    setting: Mapping[str, Any],
    *,
    num_seeds: int,
    num_steps: int,
    first_seed: int = 0,
    eval_episodes: int = 20,
    num_evaluations: int = NUM_EVALUATIONS,
    **options: Any,
) -> Trained:
    """Train a learner over seeds, in one program; another setting of numbers needs no other program.

    Args:
        name: of the learner, as on the command line.
        logged: what it learns from, and where it is tried.
        setting: numbers of its config that may be swept.
        num_seeds: runs.
        num_steps: gradient steps of each.
        first_seed: seed of the first.
        eval_episodes: episodes of an evaluation.
        num_evaluations: over the run, evenly; the last one is of the final policy.
        options: other fields of its config.
    """
    options = tuple(sorted(SMALL.items() | options.items()))
    compiled = _compiled(name, _Same(logged), num_steps, num_evaluations, eval_episodes, options)
    numbers = {key: jnp.asarray(value, float) for key, value in (compiled.defaults | dict(setting)).items()}
    seeds = jnp.arange(first_seed, first_seed + num_seeds)
    state, measured = compiled.run(compiled.data, numbers, seeds)
    measured = {key: np.asarray(value, np.float64) for key, value in measured.items()}
    returns = measured["eval_return_mean"]
    return Trained(
        score=100 * (returns - logged.minimum) / (logged.maximum - logged.minimum),
        metrics=measured,
        state=state.learner,
        learner=compiled.learner,
        steps=np.linspace(0, num_steps, num_evaluations + 1)[1:],
        setting=dict(setting),
    )


def tune_and_train(name: str, logged: Logged, settings: Sequence[Setting], *, size: Size, **options: Any) -> Trained:
    """Choose a setting on seeds of its own, and train with it on others.

    Baseline and method go through here alike: as many settings to begin with, the same rule by which further ones are
    tried, half as many seeds as the comparison has, and the interquartile mean of the last scores decides.

    Args:
        name: of the learner.
        logged: what it learns from.
        settings: what is tried first; a single one is taken as it is. What differs among them has one of `LADDERS`.
        size: seeds and gradient steps.
        options: as for `train`.
    """
    if size.num_seeds <= QUICK.num_seeds:
        settings = settings[:1]
    tuning = {"num_seeds": size.num_seeds // 2, "num_steps": size.num_updates, "first_seed": TUNING_SEEDS}
    differing = {key for key, value in settings[0].items() if any(other[key] != value for other in settings)}
    best = choose(
        settings,
        {key: LADDERS[key] for key in sorted(differing)},
        lambda tried: [train(name, logged, setting, **tuning, **options).last for setting in tried],
    )
    return train(name, logged, best, num_seeds=size.num_seeds, num_steps=size.num_updates, **options)


class _Compiled(NamedTuple):
    run: Callable[[PyTree, Mapping[str, Array], Array], tuple[PyTree, dict[str, Array]]]
    data: PyTree
    defaults: dict[str, Any]
    learner: Learner


class _Same:
    """A dataset as a key of a cache: the same one is the same object."""

    def __init__(self, logged: Logged):
        self.logged = logged

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.logged.dataset is other.logged.dataset

    def __hash__(self) -> int:
        return id(self.logged.dataset)


# Learners read files; these last as long as the process.
_FILES = tempfile.TemporaryDirectory(prefix="rlx-claims-")
_NUMBERS = itertools.count()


@functools.lru_cache(maxsize=4)
def _file(same: _Same) -> str:
    # What reads files remembers them by name: no two datasets may have one, nor one dataset that comes back.
    return str(same.logged.write(Path(_FILES.name) / f"{next(_NUMBERS)}.hdf5"))


@functools.lru_cache(maxsize=2)
def _compiled(
    name: str, same: _Same, num_steps: int, num_evaluations: int, eval_episodes: int, options: tuple
) -> _Compiled:
    recipe, environment = recipes.recipe(name), same.logged.environment
    between = max(1, num_steps // num_evaluations)
    fields = {field.name for field in dataclasses.fields(recipe.config)}
    config = recipe.config(
        dataset=_file(same),
        total_steps=between * num_evaluations,
        updates_per_step=between,
        eval_episodes=eval_episodes,
        **{key: value for key, value in options if key in fields},
    )
    build = recipes.make_build(recipe, config, environment=environment)

    def run(data: PyTree, numbers: Mapping[str, Array], seed: Array):
        program = build.make(numbers, data)

        def step(state: PyTree, key: Array):
            state, metrics = program.step(state)
            return state, metrics | program.evaluate(state, key)

        init_key, eval_key = jax.random.split(jax.random.key(seed))
        return jax.lax.scan(step, program.init(init_key), jax.random.split(eval_key, num_evaluations))

    return _Compiled(
        run=jax.jit(jax.vmap(run, in_axes=(None, None, 0))),
        data=build.data,
        defaults=hyperparameters(config),
        learner=recipe.make_learner(config, environment, num_updates=config.num_updates, data=build.data),
    )
