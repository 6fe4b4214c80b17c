"""Logs of mixed quality: good trajectories drawn more often, whatever learns from them, or the best ones alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.claims import logged
from experiments.claims.logged import Logged
from experiments.claims.offline_training import QUICK, SIZE, Trained, tune_and_train
from experiments.claims.verdicts import Claim, Curves, Finding, Size
from rlx.diagnostics import positive_sided_variance
from rlx.training.interaction import uniform_actions

MARGIN = 5.0
"""Points of normalized score that "does not hurt" and "does not help" allow."""
GOOD = 0.05
"""Share of the transitions that a good behavior made, counted as in the paper's mixtures; the rest is random."""
NUM_STEPS = 32_000
NUM_CURVE = 5
NAMES = {"return": "RW", "advantage": "AW", "top": "keeping the best tenth"}

# A return range of 1000 for 1000 steps is what IQL and CQL are made for; an episode of the pendulum has 200.
PENDULUM = {"reward_scaling": "return_range", "reward_scale": 0.2}
# As both do with the sparse rewards of mazes: -1 for each step on the way.
MAZE = {"reward_scaling": "none", "reward_shift": -1.0}
# The expert falls before its hundredth step, and episodes take most of the time of a run.
HOPPER = {"reward_scaling": "return_range", "eval_episodes": 5, "num_evaluations": NUM_CURVE, "max_eval_steps": 200}


class Learned(NamedTuple):
    """How a learner is tried.

    Attributes:
        title: its name.
        settings: what is tried first, the same with and without weights: as its paper has it, and trusting values more,
            by which a learner may leave bad data behind without weights.
        options: other fields of its config.
        share: how much of the gradient steps it gets.
    """

    title: str
    settings: Sequence[Mapping[str, float]]
    options: Mapping[str, Any] = {}
    share: float = 1.0


LEARNERS = {
    "td3_bc": Learned("TD3+BC", ({"alpha": 2.5}, {"alpha": 10.0})),
    "iql": Learned("IQL", ({"expectile": 0.7, "beta": 3.0}, {"expectile": 0.9, "beta": 10.0})),
    # With ten actions of each of three kinds a step of CQL takes a dozen times as long as one of TD3+BC. Its policy's
    # own step size is made for a million of them.
    "cql": Learned(
        "CQL", ({"weight": 10.0}, {"weight": 1.0}), {"num_actions": 2, "batch_size": 64, "learning_rate": 3e-4}, 0.5
    ),
    "bc": Learned("BC", tuple({"learning_rate": rate} for rate in (1e-4, 3e-4, 1e-3, 3e-3))),
}


class Task(NamedTuple):
    """A log, and how learners are tried on it.

    Attributes:
        source: the log.
        weightings: by learner, how often transitions are drawn; without weights first.
        options: fields of the learners' configs.
        is_mixed: whether good trajectories are few, or all there is.
    """

    source: Logged
    weightings: Mapping[str, Sequence[str]]
    options: Mapping[str, Any]
    is_mixed: bool = True

    @property
    def variance(self) -> float:
        """Positive-sided variance of the trajectories' scores, 1 being the best behavior's."""
        returns = np.asarray(self.source.dataset.episode_return)
        score = (returns - self.source.minimum) / (self.source.maximum - self.source.minimum)
        return float(positive_sided_variance(jnp.asarray(score, jnp.float32)))


Runs = Mapping[str, Mapping[str, Mapping[str, Trained]]]


def trajectory_weighting(size: Size) -> tuple:
    """Learners with and without weights on trajectories, on mixed logs and on one of an expert alone.

    CQL, whose steps cost the most, is tried on the pendulum only.
    Starts differ in maze and pendulum, and with them what a trajectory can reach: there weights by advantage are tried
    beside those by return.
    """
    is_quick = size.num_seeds <= QUICK.num_seeds
    tasks = _tiny("td3_bc", "return") if is_quick else _mixtures()
    runs = _trained(tasks, size)
    lifts = {name: _lift(of) for name, of in runs.items()}
    findings = _compared(tasks, runs)
    if not is_quick:
        findings.append(
            Finding(
                "RW lifts more where the positive-sided variance is larger: on the pendulum's mixture",
                "points of normalized score that RW adds, mean over learners; the baseline on the expert's pendulum",
                lifts["pendulum mixture"],
                lifts["expert's pendulum"],
                source="paper",
                data="; ".join(tasks[name].source.description for name in ("pendulum mixture", "expert's pendulum")),
            )
        )
    settings = _chosen(runs) | {
        f"positive-sided variance of the {name}": f"{task.variance:.3f} (RW adds {np.mean(lifts[name]):+.1f})"
        for name, task in tasks.items()
    }
    settings["CQL"] = "2 actions of each kind, minibatches of 64, half of the gradient steps"
    return findings, settings, _curves(runs, ("uniform", "return"))


def top_behavior_cloning(size: Size) -> tuple:
    """Cloning of the best tenth of the trajectories against cloning of all, with one good trajectory in ten.

    The pendulum starts anywhere, and what its expert's best trajectories have in common is a start near the top; the
    hopper's starts are all but alike. Not in the maze, where all trajectories that arrive have the same return: which
    of them are best is chance.
    """
    is_quick = size.num_seeds <= QUICK.num_seeds
    tasks = _tiny("bc", "top") if is_quick else _tenth()
    runs = _trained(tasks, size)
    settings = _chosen(runs) | {
        f"score of the best tenth of the {name}": f"{_best_tenth(task.source):.0f}" for name, task in tasks.items()
    }
    return _compared(tasks, runs), settings, _curves(runs, ("uniform", "top"))


def _mixtures() -> dict[str, Task]:
    with_advantage, returns = ("uniform", "return", "advantage"), ("uniform", "return")
    learners = {"td3_bc": with_advantage, "iql": with_advantage, "cql": returns}
    space = logged.maze_environment().action_space
    walk = logged.noisy(logged.to_cell(logged.MAZE, logged.goal_of(logged.MAZE)), space, std=0.3)
    made = logged.in_words({"random actions": 1 - GOOD, "walks to the goal": GOOD})
    maze = logged.maze([(uniform_actions(space), 1 - GOOD), (walk, GOOD)], made=made, num_steps=NUM_STEPS)
    shares = {"random": 1 - GOOD, "expert": GOOD}
    return {
        "pendulum mixture": Task(logged.pendulum(shares, num_steps=NUM_STEPS), learners, PENDULUM),
        "maze mixture": Task(maze, {"td3_bc": with_advantage, "iql": with_advantage}, MAZE),
        # It always starts nearly alike, so that advantage and return are alike.
        "hopper mixture": Task(logged.hopper(shares), {"td3_bc": returns, "iql": returns}, HOPPER),
        "expert's pendulum": _expert(learners),
    }


def _tenth() -> dict[str, Task]:
    learners = {"bc": ("uniform", "top")}
    mixture = logged.pendulum({"random": 0.9, "expert": 0.1}, num_steps=NUM_STEPS)
    # A trajectory of the hopper's expert is four times as long as one of random actions: a third of the steps is a
    # tenth of the trajectories.
    hopper = [logged.hopper(shares) for shares in ({"random": 2 / 3, "expert": 1 / 3}, {"expert": 1.0})]
    return {
        "pendulum mixture": Task(mixture, learners, {}),
        "hopper mixture": Task(hopper[0], learners, HOPPER),
        "expert's pendulum": _expert(learners),
        "expert's hopper": Task(hopper[1], learners, HOPPER, is_mixed=False),
    }


def _expert(learners: Mapping[str, Sequence[str]]) -> Task:
    return Task(logged.pendulum({"expert": 1.0}, num_steps=NUM_STEPS), learners, PENDULUM, is_mixed=False)


def _tiny(learner: str, weighting: str) -> dict[str, Task]:
    source = logged.pendulum({"random": 0.5, "expert": 0.5}, num_steps=1_600)
    return {"pendulum mixture": Task(source, {learner: ("uniform", weighting)}, PENDULUM)}


def _trained(tasks: Mapping[str, Task], size: Size) -> dict[str, dict[str, dict[str, Trained]]]:
    """Runs by task, learner and weighting."""

    def run(task: Task, learner: str, weighting: str) -> Trained:
        of = LEARNERS[learner]
        own = size._replace(num_updates=round(of.share * size.num_updates))
        options = {**of.options, **task.options, "weighting": weighting}
        return tune_and_train(learner, task.source, of.settings, size=own, **options)

    return {
        name: {learner: {w: run(task, learner, w) for w in chosen} for learner, chosen in task.weightings.items()}
        for name, task in tasks.items()
    }


def _compared(tasks: Mapping[str, Task], runs: Runs) -> list[Finding]:
    """That weights lift a learner on a mixture; and the control that on an expert's log they change nothing."""
    findings = []
    for name, of_task in runs.items():
        data = tasks[name].source.description
        for learner, of in of_task.items():
            title = LEARNERS[learner].title
            for weighting in list(of)[1:]:
                method, baseline = of[weighting].last, of["uniform"].last
                label, score = NAMES[weighting], f"normalized score; the baseline is {title} without weights"
                if tasks[name].is_mixed:
                    lifts = f"{label} lifts {title} on the {name}"
                    findings.append(Finding(lifts, score, method, baseline, source="paper", data=data))
                    continue
                findings += [
                    Finding(
                        f"control: {label} does not {verb} {title} on the {name}",
                        f"{score}, {side} {MARGIN:g} points",
                        method,
                        baseline + shift,
                        direction,
                        source="prediction",
                        data=data,
                    )
                    for verb, side, shift, direction in (
                        ("hurt", "less", -MARGIN, "higher"),
                        ("help", "plus", MARGIN, "lower"),
                    )
                ]
    return findings


def _lift(of_task: Mapping[str, Mapping[str, Trained]]) -> np.ndarray:
    """Points that weights by return add, mean over learners `[seed]`."""
    return np.mean([of["return"].last - of["uniform"].last for of in of_task.values()], axis=0)


def _best_tenth(source: Logged) -> float:
    """Mean score of the tenth of the trajectories that has the highest returns."""
    returns = np.sort(np.asarray(source.dataset.episode_return))
    best = returns[-max(1, len(returns) // 10) :].mean()
    return 100 * (best - source.minimum) / (source.maximum - source.minimum)


def _label(learner: str, weighting: str) -> str:
    title = LEARNERS[learner].title
    return title if weighting == "uniform" else f"{title} {NAMES[weighting]}"


def _chosen(runs: Runs) -> dict[str, str]:
    return {
        f"{_label(learner, weighting)} on the {name}": ", ".join(f"{key} {x:g}" for key, x in run.setting.items())
        for name, of_task in runs.items()
        for learner, of in of_task.items()
        for weighting, run in of.items()
    }


def _curves(runs: Runs, weightings: Sequence[str]) -> Curves:
    """Scores at as many points for all, since some are evaluated more often and some take more steps."""

    def points(run: Trained) -> np.ndarray:
        every = max(1, run.score.shape[1] // NUM_CURVE)
        return run.score[:, every - 1 :: every]

    panels = {
        name: {_label(learner, w): points(of[w]) for learner, of in of_task.items() for w in weightings}
        for name, of_task in runs.items()
    }
    percent = np.linspace(0, 100, NUM_CURVE + 1)[1:]
    return Curves(percent, "% of the gradient steps", "normalized score", panels)


PAPER = "(Hong et al., 2023, arXiv 2306.13085)"

CLAIMS = {
    "trajectory_weighting": Claim(
        "RW and AW",
        PAPER,
        ("rlx.weighting.trajectory_weight", "rlx.diagnostics.positive_sided_variance"),
        trajectory_weighting,
        Size(num_seeds=8, num_updates=5_000),
        QUICK,
        "datasets",
    ),
    "top_behavior_cloning": Claim(
        "10%BC",
        "(Chen et al., 2021, arXiv 2106.01345)",
        ("rlx.weighting.top_fraction",),
        top_behavior_cloning,
        SIZE,
        QUICK,
        "datasets",
    ),
}
