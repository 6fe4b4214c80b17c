"""`rlx ablate grpo` and the like: methods for language models side by side, from one warm-up, at one budget."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlx.cli.errors import CommandError
from rlx.cli.options import Options
from rlx.cli.side_by_side import by_seed, labels_of, plain, speed, train_all
from rlx.cli.train import prepare_jax, read_arguments
from rlx.recipes import language_tasks, recipe, trained
from rlx.recipes.language_methods.table import check_method
from rlx.recipes.settings import setting
from rlx.recipes.wiring import Config, Recipe
from rlx.training import runs

MEASURES = {
    "accuracy": ("eval_return_mean", "greedy accuracy"),
    "pass_at_1": ("eval_stochastic_return_mean", "pass@1"),
    "pass_at_half_k": ("eval_pass_at_half_k", "pass@{half}"),
    "pass_at_k": ("eval_pass_at_k", "pass@{k}"),
    "majority_at_k": ("eval_majority_at_k", "maj@{k}"),
    "entropy": ("eval_entropy", "entropy (nats)"),
    "length": ("eval_episode_length", "length (tokens)"),
    "kl_to_start": ("eval_drift", "KL to start (nats)"),
    "gradient_norm": ("gradient_norm", "gradient norm"),
    "pair_accuracy": ("eval_pair_accuracy", "pairs told apart"),
    "margin": ("eval_margin", "margin (nats)"),
    "chosen_log_prob": ("eval_chosen_log_prob", "log π(chosen)"),
    "rejected_log_prob": ("eval_rejected_log_prob", "log π(rejected)"),
}
"""Name in `summary.json` → column of the metrics, and what tables and pictures call it; what a recipe does not measure
is left out."""
DRAWN = {
    "grpo": ("accuracy", "pass_at_1", "pass_at_k", "entropy", "kl_to_start"),
    "dpo": ("accuracy", "pass_at_1", "pair_accuracy", "chosen_log_prob", "kl_to_start"),
}
FORMATS = {"length": ".1f", "gradient_norm": ".2f"}

DESCRIPTION = """\
Train language models by one method after the other, all seeds of a method at once and all methods from the
same warmed-up policies, and leave a folder with one table (ablation.md), two pictures (intervals.png and curve.png),
summary.json and a run folder of each method. The first method named is what the others are compared with.

METHOD@NAME=VALUE sets a method's own hyperparameters; `rlx methods` lists methods and tasks. --resume goes on with a
comparison that was stopped.

examples:
{examples}
"""

EXAMPLES = {
    "grpo": (
        "--task addition@forgetful=0.8 --methods grpo,dr_grpo,dapo,clip_cov,kl_cov,siren,lp_reg --seeds 8",
        "--task countdown --methods grpo,dr_grpo,clip_cov",
    ),
    "dpo": ("--task addition@forgetful=0.8 --methods dpo,ipo,kto,simpo --seeds 8",),
}


class Comparison(NamedTuple):
    """What is compared of a recipe.

    Attributes:
        recipe: the recipe, whose config has the field `method`.
        common: the same with `methods` in its place on the command line.
    """

    recipe: Recipe
    common: Recipe


def comparison(name: str) -> Comparison:
    """The recipe of a language model, as `rlx ablate` takes it."""
    found = recipe(name)
    fields = [
        # Each run has a method of its own; the command line names them all.
        ("method", str, setting("", "Method of one run.", group="")),
        ("methods", str, setting("all", "Methods, by commas; all takes the table that `rlx methods` prints.")),
    ]
    config = dataclasses.make_dataclass("Config", fields, bases=(found.config,), frozen=True)
    examples = tuple(f"rlx ablate {name} {words}" for words in EXAMPLES.get(name, ("--methods all",)))
    common = found._replace(config=config, command=f"rlx ablate {name}", examples=examples)
    return Comparison(found, common)


def main(arguments: Sequence[str], name: str = "grpo") -> int:
    """`rlx ablate grpo …`, and of other recipes of language models."""
    compared = comparison(name)
    known = compared.recipe.methods()
    _, common, options, _ = read_arguments(compared.common, arguments, DESCRIPTION, resumes=False)
    if options.resume and options.run_dir is None:
        raise CommandError("--resume needs --run-dir")
    if options.sweep:
        raise CommandError(f"--sweep is for rlx train {name}; here METHOD@NAME=VALUE sets what differs")
    labels = tuple(known) if common.methods == "all" else labels_of(common.methods, "--methods")
    parent = Path(options.run_dir or f"runs/{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    # What is wrong with any of them shall be known before the first of them is trained.
    for label in labels:
        check_method(known, *language_tasks.named(label))
    configs = {label: of_run(compared, common, method=label) for label in labels}
    start = warm_up(compared, common, options, parent)
    folders = {label: runs.RunFolder(parent / label) for label in labels}

    def job(label: str) -> tuple:
        folder = folders[label]
        again = options.resume and folder.config.exists()
        config = dataclasses.replace(configs[label], warm_start=str(parent / "warmup.npz"))
        own = dataclasses.replace(options, run_dir=str(folder.path), no_rollout=True, resume=again)
        return compared.recipe, config, own, trained.read(folder.path) if again else None

    if code := train_all({label: job(label) for label in labels}, parent):
        return code
    return conclude(compared, parent, common, start, folders)


def of_run(compared: Comparison, common: Config, **changes: Any) -> Config:
    """What `rlx train` takes of a config."""
    values = {field.name: getattr(common, field.name) for field in dataclasses.fields(compared.recipe.config)}
    return compared.recipe.config(**values | changes)


def warm_up(compared: Comparison, config: Config, options: Options, parent: Path) -> Mapping[str, Any]:
    """What the policies that all methods begin with reach, by measure; made where they are not there yet."""
    known = parent / "warmup.json"
    if not known.exists():
        prepare_jax(options, options.seeds)
        from rlx.recipes import warm_start

        seeds = range(options.first_seed, options.first_seed + options.seeds)
        first = next(iter(compared.recipe.methods()))
        begun = of_run(compared, config, method=first)
        task = compared.recipe.make_environment(begun)
        parent.mkdir(parents=True, exist_ok=True)
        measured = warm_start.save(begun, seeds, parent / "warmup.npz", task)
        runs.write_json(known, {name: [float(x) for x in of] for name, of in measured.items()})
    return runs.read_json(known)


def conclude(
    compared: Comparison,
    parent: Path,
    config: Config,
    start: Mapping[str, Any],
    folders: Mapping[str, runs.RunFolder],
) -> int:
    """Write table, pictures and summary of run folders, and print the table."""
    from rlx.training import plots

    summary = summarize(compared, config, start, folders)
    runs.write_json(parent / "summary.json", summary)
    text = table(summary)
    (parent / "ablation.md").write_text(text, encoding="utf-8")
    rows = {"warm-up": summary["warm_up"], **{label: of["measures"] for label, of in summary["methods"].items()}}
    first, *others = summary["methods"]
    panels = {
        title_of(summary, measure): {
            label: np.array(rows[label][measure]["per_seed"], float)
            for label in (first, *others, "warm-up")
            if measure in rows[label]
        }
        for measure in DRAWN.get(compared.recipe.name, DRAWN["grpo"])
    }
    plots.intervals(panels, out=parent / "intervals.png", title=config.task)
    curves = {label: folder.metrics for label, folder in folders.items()}
    plots.learning_curve(curves, y="eval_return_mean", x=config.steps_name, out=parent / "curve.png", title=config.task)
    print(f"{text}\nwrote {parent}/: ablation.md intervals.png curve.png summary.json, and a run folder of each method")
    return 0


def summarize(
    compared: Comparison, config: Config, start: Mapping[str, Any], folders: Mapping[str, runs.RunFolder]
) -> dict[str, Any]:
    """`summary.json`: of each method what it reached per seed, its interquartile mean and interval, and its speed."""
    from rlx.training.metrics import MetricsTable
    from rlx.training.provenance import installed_versions
    from rlx.training.statistics import aggregate

    def measured(values: np.ndarray) -> dict[str, Any]:
        return {"per_seed": plain(values), **aggregate(values)}

    methods = {}
    for label, folder in folders.items():
        columns, measures = MetricsTable.read(folder.metrics), {}
        for name, (column, _) in MEASURES.items():
            if column not in columns:
                continue
            rows = by_seed(folder, columns, column)
            # A gradient's norm is noisy: the mean of the last fifth. Evaluations are what the policy is at the end.
            last = max(1, rows.shape[1] // 5) if name == "gradient_norm" else 1
            measures[name] = measured(rows[:, -last:].mean(axis=1))
        paper = compared.recipe.methods()[language_tasks.named(label)[0]].paper
        methods[label] = {"paper": paper, f"{config.steps_name}_per_second": speed(folder), "measures": measures}
    known = {name: column for name, (column, _) in MEASURES.items() if column in start}
    return {
        "task": config.task,
        "k": config.eval_samples,
        config.steps_name: config.num_updates * config.steps_per_update,
        "steps_name": config.steps_name,
        "settings": dataclasses.asdict(config) | {"seeds": len(next(iter(start.values())))},
        "versions": installed_versions(),
        "warm_up": {name: measured(np.array(start[column])) for name, column in known.items()},
        "methods": methods,
    }


def title_of(summary: Mapping[str, Any], measure: str) -> str:
    """What a measure is called."""
    return MEASURES[measure][1].format(k=summary["k"], half=max(1, summary["k"] // 2))


def table(summary: Mapping[str, Any]) -> str:
    """The summary as Markdown."""
    from rlx.training.statistics import probability_of_improvement

    num_seeds, unit = len(summary["warm_up"]["accuracy"]["per_seed"]), summary["steps_name"]
    rows = {"warm-up": summary["warm_up"], **{label: of["measures"] for label, of in summary["methods"].items()}}
    shown = [name for name in MEASURES if any(name in measures for measures in rows.values())]
    lines = [
        f"{summary['task']}: held-out problems after {summary[unit]:,} {unit} of each of {num_seeds} "
        "seeds, all methods from the same warm-ups. Interquartile means over seeds, for the greedy accuracy with 95 % "
        "bootstrap interval and the probability that a seed beats one of the first method.",
        "",
        f"| method | {' | '.join(title_of(summary, name) for name in shown)} | P(beats the first) |",
        f"| --- |{' ---: |' * (len(shown) + 1)}",
    ]
    first = next(iter(summary["methods"].values()))["measures"]["accuracy"]["per_seed"]

    def cell(measures: Mapping[str, Any], name: str) -> str:
        if name not in measures:
            return "–"
        of = measures[name]
        if of["interquartile_mean"] is None:
            return "diverged"
        text = format(of["interquartile_mean"], FORMATS.get(name, ".3f"))
        return f"{text} [{of['interval'][0]:.3f}, {of['interval'][1]:.3f}]" if name == "accuracy" else text

    for label, measures in rows.items():
        mine = measures["accuracy"]["per_seed"]
        better = (
            "–" if mine is first else f"{probability_of_improvement(np.array(mine, float), np.array(first, float)):.2f}"
        )
        lines.append(f"| {label} | {' | '.join(cell(measures, name) for name in shown)} | {better} |")
    return "\n".join(lines) + "\n"
