"""`rlx ablate offline`: offline learners side by side on one dataset, at the same budget."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlx.cli.errors import CommandError
from rlx.cli.options import Switch
from rlx.cli.parsing import parse
from rlx.cli.side_by_side import by_seed, labels_of, plain, speed, train_all
from rlx.cli.train import read_arguments
from rlx.envs.registry import nearest
from rlx.recipes import RECIPES, recipe, simulatorless
from rlx.recipes.settings import COUNT, Setting, checked, settings
from rlx.training import runs

NUM_LAST = 10
"""Evaluations at the end of a run whose mean is its score."""

BUDGETS = (1, 2, 5, 10, 20, 50, 100, 200)
"""Evaluations that whoever has to choose among trained policies may have."""

NUM_BANDITS, MOST_POLICIES = 1000, 20
"""Bandits whose mean says what a budget is worth, and among how many policies each of them chooses at most."""

DESCRIPTION = """\
Train offline learners one after the other on one dataset, all seeds of a learner at once, and leave a folder
with one table (ablation.md), one picture (curve.png), summary.json and a run folder of each learner.

LEARNER@NAME=VALUE@NAME=VALUE sets options of `rlx train LEARNER`. Learners: {learners}

examples:
  rlx ablate offline --dataset hopper.hdf5 --learners td3_bc,a2pr,prdc,iql --seeds 8 --updates 100000
  rlx ablate offline --dataset maze.hdf5 --learners td3_bc,td3_bc@weighting=return,iql@expectile=0.9
"""


@dataclasses.dataclass(frozen=True)
class Options:
    """What is compared, and how."""

    dataset: str
    """File (D4RL's HDF5) or folder (Minari) of the data."""
    learners: str = "bc,td3_bc,iql"
    """Learners, by commas. The first is what the others are compared with."""
    env: str = ""
    """Environment to evaluate in; by default the one that the dataset names."""
    updates: int = 100_000
    """Gradient steps of each learner and seed."""
    updates_per_step: int = 1000
    """Gradient steps between two measurements."""
    seeds: int = 8
    """How many seeds."""
    first_seed: int = 0
    """The first of them."""
    evaluations: int = 20
    """Evaluations in a run, evenly spaced."""
    eval_episodes: int = 10
    """Episodes of an evaluation."""
    run_dir: str | None = None
    """Folder; None makes runs/offline-TIME."""
    resume: Switch = False
    """Go on with the comparison in --run-dir."""
    quiet: Switch = False
    """Print only the table."""


class LearnerScores(NamedTuple):
    """What one learner reached, one number per seed.

    Attributes:
        final: score of the last evaluation.
        last: mean score of the last evaluations.
        best: score of the best evaluation, chosen in hindsight.
        num_last: over how many `last` is the mean.
        evaluations: among how many `best` is the best.
        measured: the last evaluations themselves, `[seed, evaluation]`.
    """

    final: np.ndarray
    last: np.ndarray
    best: np.ndarray
    num_last: int
    evaluations: int
    measured: np.ndarray


def main(arguments: Sequence[str], name: str = "offline") -> int:
    """`rlx ablate offline …`."""
    description = DESCRIPTION.replace("{learners}", ", ".join(offline_learners()))
    options = parse(Options, arguments, prog="rlx ablate offline", description=description)
    labels = labels_of(options.learners, "--learners")
    for count in ("updates", "updates_per_step", "seeds", "evaluations", "eval_episodes"):
        checked(count, getattr(options, count), int, Setting("", "", COUNT, swept=False))
    if options.resume and options.run_dir is None:
        raise CommandError("--resume needs --run-dir")
    if options.env == simulatorless.NONE:
        raise CommandError(
            "--env none evaluates nothing, so that there is nothing to compare: train each by rlx train LEARNER --env "
            "none, and estimate its return by rlx evaluate"
        )
    parent = Path(options.run_dir or f"runs/offline-{time.strftime('%Y%m%d-%H%M%S')}")
    # What is wrong with any of them shall be known before the first of them is trained.
    jobs = {label: _job(label, options, parent) for label in labels}
    if code := train_all(jobs, parent):
        return code
    return conclude(parent, {label: runs.RunFolder(job[2].run_dir) for label, job in jobs.items()})


def conclude(parent: Path, folders: Mapping[str, runs.RunFolder]) -> int:
    """Write table, picture and summary of run folders, and print the table."""
    from rlx.training import plots

    saved = runs.read_json(next(iter(folders.values())).config)
    env = saved["env"]
    metric, scores = read_scores(folders)
    summary = summarize(folders, scores, metric) | {"env": env, "eval_episodes": saved["config"]["eval_episodes"]}
    runs.write_json(parent / "summary.json", summary)
    text = table(summary) + selection_table(summary)
    (parent / "ablation.md").write_text(text, encoding="utf-8")
    curves = {label: folder.metrics for label, folder in folders.items()}
    plots.learning_curve(curves, y=metric, x="gradient_steps", out=parent / "curve.png", title=env)
    print(text + f"\nwrote {parent}/: ablation.md curve.png summary.json, and a run folder of each learner")
    return 0


def read_scores(folders: Mapping[str, runs.RunFolder]) -> tuple[str, dict[str, LearnerScores]]:
    """The metric that scores are of, and those of each learner; a seed that diverged has NaN."""
    from rlx.training.metrics import MetricsTable

    tables = {label: MetricsTable.read(folder.metrics) for label, folder in folders.items()}
    normalized = all("eval_normalized_score" in table for table in tables.values())
    metric = "eval_normalized_score" if normalized else "eval_return_mean"
    scores = {}
    for label, folder in folders.items():
        rows = by_seed(folder, tables[label], metric)
        last = rows[:, -NUM_LAST:]
        scores[label] = LearnerScores(rows[:, -1], last.mean(1), rows.max(1), last.shape[1], rows.shape[1], last)
    return metric, scores


def summarize(
    folders: Mapping[str, runs.RunFolder], scores: Mapping[str, LearnerScores], metric: str
) -> dict[str, Any]:
    """`summary.json`: of each learner its scores per seed, their interquartile mean and interval, and its speed."""
    from rlx.training.statistics import aggregate

    learners = {}
    for label, found in scores.items():
        learners[label] = {
            "score_per_seed": plain(found.last),
            **aggregate(found.last),
            "evaluations_averaged": found.num_last,
            "final": {"score_per_seed": plain(found.final), **aggregate(found.final)},
            "best": {"score_per_seed": plain(found.best), **aggregate(found.best), "chosen_among": found.evaluations},
            "updates_per_second": speed(folders[label]),
        }
    return {"metric": metric, "learners": learners, "selection": selection(scores)}


def selection(scores: Mapping[str, LearnerScores]) -> dict[str, Any]:
    """What each method is worth to someone who may evaluate so many times, and takes what looks best.

    Of the policies of a method, its settings and seeds together, a bandit finds the best; of many, each bandit has
    some, drawn anew (Jackson et al., 2025, arXiv:2504.11453, whose code has these numbers). The last evaluations of a
    policy stand for it; one that diverged is not among them.
    """
    import jax
    import jax.numpy as jnp

    from rlx.diagnostics import bandit_selection
    from rlx.training.statistics import bootstrap_interval

    methods: dict[str, list[np.ndarray]] = {}
    for label, found in scores.items():
        methods.setdefault(label.partition("@")[0], []).append(found.measured)
    found = {}
    for method, measured in methods.items():
        rows = np.concatenate(measured)
        rows = jnp.asarray(rows[np.isfinite(rows).all(axis=1)], float)
        if len(rows) < 2:
            continue
        options = {"num_pulls": max(BUDGETS), "num_policies": min(MOST_POLICIES, len(rows))}
        bandits = jax.jit(jax.vmap(lambda key: bandit_selection(key, rows, **options)))
        curves = np.asarray(bandits(jax.random.split(jax.random.key(0), NUM_BANDITS)))[:, np.array(BUDGETS) - 1]
        low, high = bootstrap_interval(curves, statistic=np.mean, resamples=200)
        found[method] = {
            "policies": len(rows),
            "budgets": list(BUDGETS),
            "score": curves.mean(axis=0).tolist(),
            "interval": [low.tolist(), high.tolist()],
        }
    return found


def selection_table(summary: Mapping[str, Any]) -> str:
    """The summary's `selection` as Markdown; empty where there is none."""
    from rlx.training.progress import number

    methods = summary["selection"]
    if not methods:
        return ""
    lines = [
        "",
        "Score of the policy that a UCB bandit takes for the best of a method's settings and seeds, of "
        f"{MOST_POLICIES} at random where there are more, after so many evaluations of {summary['eval_episodes']} "
        f"episodes; mean of {NUM_BANDITS:,} bandits (Jackson et al., 2025).",
        "",
        f"| method | policies | {' | '.join(map(str, BUDGETS))} |",
        f"| --- | ---: |{' ---: |' * len(BUDGETS)}",
    ]
    for method, found in methods.items():
        lines.append(f"| {method} | {found['policies']} | {' | '.join(map(number, found['score']))} |")
    return "\n".join(lines) + "\n"


def table(summary: Mapping[str, Any]) -> str:
    """The summary as Markdown."""
    from rlx.training.progress import engineering, number
    from rlx.training.statistics import probability_of_improvement

    learners = summary["learners"]
    first = next(iter(learners.values()))
    kind = "Normalized score" if summary["metric"] == "eval_normalized_score" else "Return"
    lines = [
        f"{kind} on {summary['env']}: interquartile mean over seeds of the mean of the last "
        f"{first['evaluations_averaged']} evaluations, 95 % bootstrap interval, and the probability that a seed beats "
        f"one of the first learner. Beside it the last evaluation alone, and the best of "
        f"{first['best']['chosen_among']}, which is flattered by the choice. Updates per second are those of all seeds "
        "together.",
        "",
        "| learner | score | 95 % interval | last evaluation | best evaluation | P(beats the first) | updates/s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    shown = lambda result: "–" if result["interquartile_mean"] is None else number(result["interquartile_mean"])
    for label, result in learners.items():
        low, high = result["interval"]
        mine, theirs = (np.array(x["score_per_seed"], float) for x in (result, first))
        cells = [
            label,
            "diverged" if low is None else shown(result),
            "–" if low is None else f"{number(low)} to {number(high)}",
            shown(result["final"]),
            shown(result["best"]),
            "–" if result is first else f"{probability_of_improvement(mine, theirs):.2f}",
            "–" if result["updates_per_second"] is None else engineering(result["updates_per_second"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _job(label: str, options: Options, parent: Path) -> tuple:
    """The arguments of `rlx.cli.train.train` for one learner."""
    name, *settings = label.split("@")
    if name not in (known := offline_learners()):
        raise CommandError(f"--learners must be among {', '.join(known)}; got {name!r}")
    folder = parent / label.replace("/", "-")
    words = [
        *("--dataset", options.dataset, "--total-steps", str(options.updates), "--seeds", str(options.seeds)),
        *("--first-seed", str(options.first_seed), "--updates-per-step", str(options.updates_per_step)),
        *("--evaluations", str(options.evaluations), "--reports", str(options.evaluations)),
        *("--eval-episodes", str(options.eval_episodes), "--run-dir", str(folder), "--no-rollout"),
        *(("--env", options.env) if options.env else ()),
        *(["--quiet"] if options.quiet else []),
        *(["--resume"] if options.resume and runs.RunFolder(folder).config.exists() else []),
    ]
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise CommandError(f"--learners takes LEARNER@NAME=VALUE, got {label!r}")
        if (option := key.strip().replace("-", "_")) not in (own := known_settings(name)):
            raise CommandError(f"{name} has no setting {option!r} of its own; {nearest(option, own)}")
        words += [f"--{key.strip().strip('_').replace('_', '-')}", value.strip()]
    return read_arguments(recipe(name), words)


def known_settings(name: str) -> list[str]:
    """Settings of a learner that do not belong to the whole comparison."""
    ours = {field.name for field in dataclasses.fields(Options)} | {"total_steps"}
    return [setting for setting in settings(recipe(name).config) if setting not in ours]


def offline_learners() -> list[str]:
    """Algorithms that learn from a dataset."""
    return [name for name in RECIPES if "dataset" in settings(recipe(name).config)]
