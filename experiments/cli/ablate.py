"""``rlx ablate``: variants of an algorithm side by side, everything else equal."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.cli import records
from experiments.cli.errors import CommandError
from experiments.cli.train import read_arguments, train
from rlx.training import runs

HELP = """\
usage: rlx ablate ALGORITHM [OPTIONS]

algorithms:
{algorithms}

  rlx ablate ppo --help     all options, and the methods there are
"""

DESCRIPTION = """\
Train {name} with one policy loss after another, everything else equal, in one compiled program for all methods and
seeds, and leave a run folder with one table (ablation.md) and one picture (curve.png).

The values shown are those of {source}. Methods, the first named being the baseline:
{methods}

examples:
  rlx ablate {algorithm} --methods clipped_surrogate,hazard_modulated,ratio_variance --seeds 8
  rlx ablate {algorithm} --env gymnax:CartPole-v1 --methods clipped_surrogate,clipped_surrogate@clip_high=0.4
  rlx ablate {algorithm} --sweep learning_rate=1e-4,3e-4,1e-3      each method with each, to tune them alike
"""


def main(arguments: Sequence[str]) -> int:
    """``rlx ablate ALGORITHM …``."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP.format(algorithms="\n".join(f"  {name}" for name in records.ABLATIONS)), end="")
        return 0
    name = arguments[0] + records.ABLATION
    module = records.module_of(name)
    width = max(map(len, module.METHODS))
    methods = "\n".join(f"  {name:<{width}}  {method.source}" for name, method in module.METHODS.items())
    config, options, resumed = read_arguments(name, module, arguments[1:], DESCRIPTION.replace("{methods}", methods))
    for label in config.labels:
        module.loss_of(label)
    if len(set(config.labels)) < max(2, len(config.labels)):
        raise CommandError(f"--methods must name two or more different ones, got {config.methods!r}")
    # The method varies slowest, so that tables list one method after the other; a resumed run has it already.
    sweep = [f"method={','.join(map(str, range(len(config.labels))))}"]
    sweep += [word for word in options.sweep if not word.startswith("method=")]
    options = dataclasses.replace(options, sweep=tuple(sweep))
    return train(name, module, config, options, resumed, finish=write_table)


def write_table(folder: runs.RunFolder, summary: Mapping[str, Any]) -> None:
    """Write ``ablation.md`` and print it."""
    text = table(summary, runs.read_json(folder.config)["config"]["env"])
    (Path(folder.path) / "ablation.md").write_text(text, encoding="utf-8")
    print(text)


def table(summary: Mapping[str, Any], env: str) -> str:
    """Final return of each method, and the probability that its runs beat the first one's, as Markdown.

    With further hyperparameters swept, each method shows its best setting. The best of several is chosen on the very
    runs that are shown, for every method alike; the table says so.
    """
    from rlx.training.progress import number
    from rlx.training.statistics import probability_of_improvement

    score = lambda setting: -np.inf if setting["interquartile_mean"] is None else setting["interquartile_mean"]
    best: dict[float, Mapping[str, Any]] = {}
    for setting in summary["settings"]:
        method = setting["hyperparameters"]["method"]
        if method not in best or score(setting) > score(best[method]):
            best[method] = setting
    returns = {
        method: np.array(
            [
                np.nan if run["final_return"] is None else run["final_return"]
                for run in summary["runs"]
                if run["hyperparameters"] == setting["hyperparameters"]
            ]
        )
        for method, setting in best.items()
    }
    lines = [
        f"Final return on {env}: interquartile mean, 95 % bootstrap interval, and the probability that a run of the "
        "method beats a run of the first.",
        "",
        "| method | final return | 95 % interval | seeds | P(beats the first) |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    first = min(best)
    for method, setting in sorted(best.items()):
        low, high = setting["interval"]
        finite = setting["num_finite"]
        cells = [
            setting["label"],
            "diverged" if low is None else number(setting["interquartile_mean"]),
            "–" if low is None else f"{number(low)} to {number(high)}",
            str(setting["num_runs"]) if finite == setting["num_runs"] else f"{finite} of {setting['num_runs']}",
            "–" if method == first else f"{probability_of_improvement(returns[method], returns[first]):.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if len(summary["settings"]) > len(best):
        lines += ["", "Each method shows its best setting, chosen on these same runs."]
    return "\n".join(lines) + "\n"
