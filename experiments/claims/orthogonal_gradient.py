"""The gradient through the next state's value: kept, dropped, or only its part across the gradient at the state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from experiments.claims import logged
from experiments.claims.logged import Logged
from experiments.claims.offline_training import QUICK, SIZE, SMALL, Trained, train, tune_and_train
from experiments.claims.verdicts import Claim, Curves, Finding, Size
from rlx import data, policies
from rlx.recipes import offline
from rlx.training.interaction import uniform_actions

SETTINGS = {
    "orthogonal": [{"lambda_": share, "eta": eta} for share in (0.5, 0.8) for eta in (0.5, 1.0)],
    # Neither has an η, so each gets a finer grid of λ.
    "semi": [{"lambda_": share} for share in (0.5, 0.6, 0.7, 0.8)],
    "true": [{"lambda_": share} for share in (0.5, 0.6, 0.7, 0.8)],
}
# A step of three gradients costs several of TD3+BC's: fewer of them, and five times the paper's step sizes.
OWN_SIZE = SIZE._replace(num_updates=5_000)
RATES = {"learning_rate": 1e-3, "critic_learning_rate": 1e-3}
# The sparse rewards of mazes as the paper has them: -3 for each step on the way, 0 for arriving.
MAZE_REWARDS = {"reward_scaling": "none", "reward_scale": 3.0, "reward_shift": -3.0}
NUM_PROBED = 1000


def odice(size: Size) -> tuple:
    """Three gradients of one dual value on a maze, a pendulum and a hopper with mostly random data.

    Everything else is the same: networks, weights, cloning. The paper scales rewards to a return range of 1000 for
    1000 steps; as much for a step is 200 for an episode of the pendulum and 100 for one of this hopper.

    Separation is measured on a ring of which one half is left out, with the settings that were best on the maze. Every
    state on the way up has a mirror image that the data lack, as far from the goal and worth as much: a value that is
    higher on the data is not so because it is right.
    """
    is_quick = size.num_seeds <= QUICK.num_seeds
    tasks = {"maze": (logged.stitching(num_steps=1_000), MAZE_REWARDS)} if is_quick else _tasks()
    # The order of all three is claimed where parts of trajectories have to be joined.
    gradients = {task: tuple(SETTINGS) if task == "maze" and not is_quick else ("orthogonal", "true") for task in tasks}
    runs = {
        task: {
            gradient: tune_and_train(
                "odice", source, _with(RATES, SETTINGS[gradient]), size=size, gradient=gradient, **options
            )
            for gradient in gradients[task]
        }
        for task, (source, options) in tasks.items()
    }
    findings = [
        Finding(
            f"{better} beats {worse} on the {task}",
            f"normalized score with the {better} gradient; the baseline with the {worse} one",
            of[better].last,
            of[worse].last,
            source="paper",
            data=tasks[task][0].description,
        )
        for task, of in runs.items()
        for better, worse in _pairs(gradients[task])
    ]
    similarity = {
        task: {gradient: _similarity(run, tasks[task][0].dataset) for gradient, run in of.items()}
        for task, of in runs.items()
    }
    findings += [
        Finding(
            f"features of successive states differ more on the {task}",
            "cosine similarity of the last hidden layer at s and s', orthogonal; the baseline with the true gradient",
            of["orthogonal"],
            of["true"],
            "lower",
            source="paper",
            data=tasks[task][0].description,
        )
        for task, of in similarity.items()
    ]
    findings += _separation(*half_ring(1_000 if is_quick else 20_000), runs["maze"], size)
    settings = {
        f"{gradient} on the {task}": ", ".join(
            f"{_SYMBOL[key]} {run.setting[key]}" for key in _SYMBOL if key in run.setting
        )
        for task, of in runs.items()
        for gradient, run in of.items()
    }
    panels = {task: {gradient: run.score for gradient, run in of.items()} for task, of in runs.items()}
    steps = runs["maze"]["true"].steps
    return findings, settings, Curves(steps, "gradient steps", "normalized score", panels)


_SYMBOL = {"lambda_": "λ", "eta": "η"}


def _tasks() -> dict[str, tuple[Logged, dict[str, Any]]]:
    """Datasets, and what of the learner is particular to them."""
    shares = {"random": 0.9, "expert": 0.1}
    return {
        "maze": (logged.stitching(), MAZE_REWARDS),
        # All episodes of a log of this length are whole: one that is cut short would pass for the best.
        "pendulum": (logged.pendulum(shares, num_steps=32_000), {"reward_scale": 0.2}),
        "hopper": (
            logged.hopper(shares, num_steps=20_000),
            {"reward_scale": 0.1, "eval_episodes": 5, "max_eval_steps": 200},
        ),
    }


def _with(numbers: Mapping[str, float], settings: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    return [{**numbers, **setting} for setting in settings]


def _pairs(gradients: Sequence[str]) -> list[tuple[str, str]]:
    """Which gradient should beat which: the first the last, and each the next."""
    return list(dict.fromkeys([(gradients[0], gradients[-1]), *pairwise(gradients)]))


def _similarity(run: Trained, dataset: data.Dataset) -> Float[np.ndarray, " seed"]:
    """Mean cosine similarity of the values' last hidden activations at the two states of a transition."""
    torso = policies.ensemble(policies.torso(SMALL["critic_hidden_sizes"], activation="relu", layer_norm=True))
    rows = _some(dataset.num_rows)

    def measure(state: PyTree[Array]) -> Float[Array, ""]:
        features = [
            torso.apply(state.params["value"], observation[rows])
            for observation in (dataset.observation, dataset.next_observation)
        ]
        norms = [jnp.linalg.norm(x, axis=-1) for x in features]
        return jnp.mean(jnp.sum(features[0] * features[1], axis=-1) / jnp.maximum(norms[0] * norms[1], 1e-12))

    return run.probe(measure)


RING = (
    "...G...",
    ".#####.",
    ".#####.",
    ".#####.",
    ".......",
)
"""Two ways around a block to a goal in the middle of the upper edge, each the other's mirror image."""


def _separation(
    source: Logged, states: Float[np.ndarray, "row observation"], runs: Mapping[str, Trained], size: Size
) -> list[Finding]:
    """That states on the data are worth more than their mirror images, after training on one half of a ring."""
    rows = _some(len(states))
    on, off = states[rows], mirrored(states[rows])
    value = policies.ensemble(offline.state_value(SMALL["critic_hidden_sizes"], layer_norm=True))

    def measure(state: PyTree[Array]) -> Float[Array, ""]:
        of_data, of_images = (jnp.min(value.apply(state.params["value"], x), axis=0) for x in (on, off))
        return jnp.mean(of_data > of_images)

    found = {
        gradient: train(
            "odice",
            source,
            run.setting,
            num_seeds=size.num_seeds,
            num_steps=size.num_updates,
            gradient=gradient,
            **MAZE_REWARDS,
        ).probe(measure)
        for gradient, run in runs.items()
    }
    what = "P(V at a state on the data > V at its mirror image off the data)"
    place = {"source": "paper", "data": source.description}
    return [
        Finding("V is higher on the data than off them", f"{what}, orthogonal", found["orthogonal"], 0.5, **place),
        *(
            Finding(
                f"V separates them better than with the {other} gradient",
                f"{what}, orthogonal; the baseline with the {other} gradient",
                found["orthogonal"],
                found[other],
                **place,
            )
            for other in found
            if other != "orthogonal"
        ),
    ]


def half_ring(num_steps: int) -> tuple[Logged, Float[np.ndarray, "row observation"]]:
    """A log of the ring without the episodes that touch its right way, and its states on the left way."""
    space = logged.maze_environment(RING).action_space
    walk = logged.noisy(logged.to_cell(RING, logged.goal_of(RING)), space, std=0.3)
    shares = {"walks to the goal": 0.3, "random actions": 0.7}
    controllers = [(walk, 0.3), (uniform_actions(space), 0.7)]
    made = f"{logged.in_words(shares)}, without the episodes that touch the right half's way up"
    whole = logged.maze(controllers, made=made, layout=RING, num_steps=num_steps)
    observation, episode = (np.asarray(x) for x in (whole.dataset.observation, whole.dataset.episode_number))
    kept = np.setdiff1d(np.arange(whole.dataset.num_episodes), episode[_on_way_up(mirrored(observation))])
    partial = data.select_episodes(whole.dataset, kept)
    states = np.asarray(partial.observation)
    return whole._replace(dataset=partial), states[_on_way_up(states)]


def mirrored(observation: Float[np.ndarray, "row observation"]) -> Float[np.ndarray, "row observation"]:
    """The states `[x, y, speed of x, speed of y]` on the other side of the ring's axis."""
    return observation * np.array([-1, 1, -1, 1], np.float32) + np.array([len(RING[0]) - 1, 0, 0, 0], np.float32)


def _on_way_up(observation: Float[np.ndarray, "row observation"]) -> Bool[np.ndarray, " row"]:
    """Whether a state is on the left way, between the corners."""
    column, row = np.round(observation[:, 0]), np.round(-observation[:, 1])
    return (column == 0) & (row > 0) & (row < len(RING) - 1)


def _some(count: int) -> Array:
    """Rows to measure on, drawn once for all."""
    return jax.random.choice(jax.random.key(0), count, (min(count, NUM_PROBED),), replace=False)


CLAIMS = {
    "odice": Claim(
        "O-DICE",
        "(Mao et al., 2024, arXiv 2402.00348)",
        ("rlx.losses.value.dice_value", "rlx.transforms.orthogonalize"),
        odice,
        OWN_SIZE,
        QUICK,
        "datasets",
    ),
}
