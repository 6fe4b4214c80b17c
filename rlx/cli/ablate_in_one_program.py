"""`rlx ablate ppo`: policy losses side by side from one compilation, one table, one picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlx.cli.errors import CommandError
from rlx.cli.train import read_arguments, train
from rlx.recipes import recipe
from rlx.training import runs

DESCRIPTION = """\
Train {title}, everything else equal, compiled once for all losses and seeds, and leave a run folder with one
table (ablation.md) and one picture (curve.png). With --sweep each loss is tried with each value, to tune them alike.

The values shown are those of {source}. Losses, the first named being the baseline:
METHODS

examples:
{examples}
"""


def main(arguments: Sequence[str], name: str = "ppo") -> int:
    """`rlx ablate ppo …`."""
    from rlx.recipes.ppo_losses import loss_of

    found = recipe("ppo_losses")
    known = found.methods()
    width = max(map(len, known))
    methods = "\n".join(f"  {name:<{width}}  {method.source}" for name, method in known.items())
    found, config, options, resumed = read_arguments(found, arguments, DESCRIPTION.replace("METHODS", methods))
    for label in config.labels:
        loss_of(label)
    if len(set(config.labels)) < max(2, len(config.labels)):
        raise CommandError(f"--methods must name two or more different ones, got {config.methods!r}")
    # The method varies slowest, so that tables list one method after the other; a resumed run has it already.
    sweep = [f"method={','.join(map(str, range(len(config.labels))))}"]
    if resumed is None and any(word.partition("=")[0].strip() == "method" for word in options.sweep):
        raise CommandError("--sweep cannot name method: --methods says which are compared")
    sweep += [word for word in options.sweep if not word.startswith("method=")]
    return train(found, config, dataclasses.replace(options, sweep=tuple(sweep)), resumed, finish=write_table)


def write_table(folder: runs.RunFolder, summary: Mapping[str, Any]) -> None:
    """Write `ablation.md` and print it; where hyperparameters were swept, redraw `curve.png` with what it lists."""
    from rlx.training import plots
    from rlx.training.metrics import MetricsTable, hyperparameter_names

    env = runs.read_json(folder.config)["config"]["env"]
    shown = chosen_settings(summary)
    text = table(shown, env, tuned=len(summary["settings"]) > len(shown))
    (Path(folder.path) / "ablation.md").write_text(text, encoding="utf-8")
    if len(summary["settings"]) > len(shown) and folder.curve.exists():
        metrics = MetricsTable.read(folder.metrics)
        names = hyperparameter_names(metrics)
        rows = zip(metrics["seed"].tolist(), *(metrics[name].tolist() for name in names))
        wanted = {(run["seed"], *run["hyperparameters"].values()) for method in shown for run in method}
        keep = np.array([row in wanted for row in rows])
        columns = {name: column[keep] for name, column in metrics.columns.items()}
        plots.learning_curve({"": MetricsTable(columns, choices=metrics.choices)}, out=folder.curve, title=env)
    print(text)


def chosen_settings(summary: Mapping[str, Any]) -> list[list[Mapping[str, Any]]]:
    """For each method the runs to show.

    With further hyperparameters swept, each method's setting is chosen on the first half of the seeds, and the other
    half is shown: the best of several is flattered by the runs that it was chosen on.
    """
    by_method: dict[float, dict[str, list[Mapping[str, Any]]]] = {}
    for run in summary["runs"]:
        by_method.setdefault(run["hyperparameters"]["method"], {}).setdefault(run["label"], []).append(run)
    shown = []
    for _, settings in sorted(by_method.items()):
        if len(settings) == 1:
            shown.append(next(iter(settings.values())))
            continue
        half = max(1, len(next(iter(settings.values()))) // 2)
        score = lambda members: np.mean([_return(run, -np.inf) for run in members[:half]])
        best = max(settings.values(), key=score)
        shown.append(best[half:] or best)
    return shown


def table(shown: Sequence[Sequence[Mapping[str, Any]]], env: str, *, tuned: bool = False) -> str:
    """Final return of each method, and the probability that its runs beat the first one's, as Markdown."""
    from rlx.training.progress import number
    from rlx.training.statistics import aggregate, probability_of_improvement

    returns = [np.array([_return(run, np.nan) for run in members]) for members in shown]
    lines = [
        f"Final return on {env}: interquartile mean, 95 % bootstrap interval, and the probability that a run of the "
        "method beats a run of the first.",
        "",
        "| method | final return | 95 % interval | seeds | P(beats the first) |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for members, values in zip(shown, returns, strict=True):
        result = aggregate(values)
        (low, high), finite, count = result["interval"], result["num_finite"], result["num_runs"]
        cells = [
            members[0]["label"],
            "diverged" if low is None else number(result["interquartile_mean"]),
            "–" if low is None else f"{number(low)} to {number(high)}",
            str(count) if finite == count else f"{finite} of {count}",
            "–" if members is shown[0] else f"{probability_of_improvement(values, returns[0]):.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if tuned:
        lines += ["", "Each method's setting was chosen on the first half of the seeds; the others are shown."]
    return "\n".join(lines) + "\n"


def _return(run: Mapping[str, Any], lost: float) -> float:
    return lost if run["final_return"] is None else run["final_return"]
